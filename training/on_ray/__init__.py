"""What `training` does in one process, on many: trainings on Ray Train, searches on Ray Tune.

train         jobs dealt to workers
tune          a search: trials are placed, watched and stopped
schedulers    which trials are stopped, and which take over from others
trial         one trial, in its worker
zoo           a zoo made by a trial that needs it
"""
