-- Insert a trained model and its lineage.
-- parameters: as_of instant, cutoff period, trained_at instant
insert into models
    (recipe, model_version, model_hash, training, reason, cutoff, as_of, data_hash, recipe_fingerprint,
     training_fingerprint, code_version, record, skill, trained_at)
values
    (:recipe, :model_version, :model_hash, :training, :reason, :cutoff, :as_of, :data_hash, :recipe_fingerprint,
     :training_fingerprint, :code_version, :record, :skill, :trained_at)
