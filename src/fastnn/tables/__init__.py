"""Models of tables: files of columns with names, and the commands that train on them and predict."""
