"""What was tracked, told: as a table, as pictures, as a page.

command          `dwszoo report`
rows             the numbers, from the tracking store
table            the same as text, and the report's files
plots            pictures of the numbers
task_pictures    pictures of what models of a task have learned
examples         what a model said of test networks, network by network
pictures         the same as PNG, for MLflow
page             all of it as one page
champion         the best model, registered
"""
