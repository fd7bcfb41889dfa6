"""The commands of `reprise replay`, one file each."""
