"""How members of a zoo are made: fits and trainings, in one process or as Ray tasks."""
