"""Objects in a viewer that radiologists know: OHIF before an Orthanc of our own, at one loopback address."""
