"""The packet plane: its Python face, DTLS, the plane process and the native core."""
