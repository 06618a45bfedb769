"""Five invented dossiers that show what the rules do, told through the same requests as anybody's."""
