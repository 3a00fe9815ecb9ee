"""The waist: the tables of a recording, who writes them and who reads them."""
