-- Insert an attempt; its number.
-- parameters: started_at instant
insert into command_attempts (recipe, command, started_at, status) values (:recipe, :command, :started_at, 'running')
returning attempt_id
