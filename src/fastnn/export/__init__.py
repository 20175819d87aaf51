"""Writers: models as files and objects of other tools."""
