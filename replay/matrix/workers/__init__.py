"""Where the cells of a matrix run: processes here, or a Dask cluster."""
