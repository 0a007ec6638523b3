-- Delete the attempt before one that found nothing to do, if it succeeded; what it published stays in runs.
delete from command_attempts
where attempt_id in (
    select earlier.attempt_id
    from command_attempts as this
    join command_attempts as earlier on earlier.recipe = this.recipe and earlier.attempt_id < this.attempt_id
    where this.attempt_id = :attempt_id
      and earlier.status in ('published', 'unchanged')
      and earlier.command = this.command
      and not exists (
          select 1 from command_attempts as between_them
          where between_them.recipe = this.recipe
            and between_them.attempt_id > earlier.attempt_id and between_them.attempt_id < this.attempt_id
      )
)
