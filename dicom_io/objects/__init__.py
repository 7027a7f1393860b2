"""The DICOM objects of a reconstruction."""
