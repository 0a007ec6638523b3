"""What is kept about trainings, models, runs and decisions."""
