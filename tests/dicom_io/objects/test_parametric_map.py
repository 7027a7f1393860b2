"""The activation as a Parametric Map: floats as they were, coded, referring to the images."""

import numpy as np

from lfmri_node.recon.types import LesionMap


def test_the_activation_is_stored_as_it_is(make):
    trusted = make.trusted(make.geometry((24, 11, 13)))
    (dataset,) = make.deliver(trusted).read("map")
    assert dataset.SOPClassUID == "1.2.840.10008.5.1.4.1.1.30"
    assert dataset.BitsAllocated == 32
    assert int(dataset.NumberOfFrames) == 24
    frames = np.frombuffer(dataset.FloatPixelData, dtype="<f4").reshape(24, 11, 13)
    assert sorted(map(bytes, frames)) == sorted(map(bytes, trusted.lesion.activation))


def test_the_quantity_is_coded_and_has_no_unit(delivered):
    (dataset,) = delivered.read("map")
    (mapping,) = dataset.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence
    quantity = mapping.QuantityDefinitionSequence[0].ConceptCodeSequence[0]
    assert (quantity.CodeValue, quantity.CodingSchemeDesignator) == ("130404", "DCM")
    assert quantity.CodeMeaning == "Saliency"
    assert mapping.MeasurementUnitsCodeSequence[0].CodeValue == "1"
    assert (mapping.RealWorldValueSlope, mapping.RealWorldValueIntercept) == (1.0, 0.0)
    first, last = (
        mapping.DoubleFloatRealWorldValueFirstValueMapped,
        mapping.DoubleFloatRealWorldValueLastValueMapped,
    )
    assert (first, last) == (0.0, 1.0)


def test_the_window_shows_a_ramp_and_not_a_step(delivered):
    (window,) = delivered.read("map")[0].SharedFunctionalGroupsSequence[0].FrameVOILUTSequence
    assert (window.WindowCenter, window.WindowWidth) == (0.5, 1.0)
    # LINEAR with width 1 would be a threshold at 0 (PS3.3 C.11.2.1.2.1).
    assert window.VOILUTFunction == "LINEAR_EXACT"


def test_the_map_refers_to_the_lf_mri_series_only(delivered):
    (dataset,) = delivered.read("map")
    (series,) = dataset.ReferencedSeriesSequence
    images = delivered.read("lf-mri")
    assert series.SeriesInstanceUID == images[0].SeriesInstanceUID
    referred = {item.ReferencedSOPInstanceUID for item in series.ReferencedInstanceSequence}
    assert referred == {image.SOPInstanceUID for image in images}


def test_the_highest_score_is_told_with_its_class_and_instance(make):
    activation = np.zeros((3, 17, 23), dtype=np.float32)
    activation[2, 3, 4] = 0.6
    scores = np.array([[0.1, 0.2], [0.3, 0.1], [0.4, 0.93]], dtype=np.float32)
    lesion = LesionMap(
        activation=activation,
        scores=scores,
        labels=("edema", "tear"),
        operating_score=0.4,
        threshold=0.5,
        validated=True,
    )
    (dataset,) = make.deliver(make.trusted(lesion=lesion)).read("map")
    assert "highest slice score 0.93 (tear, instance 3)" in dataset.ImageComments


def test_a_volume_without_lesion_has_a_map_of_zeros(make):
    lesion = make.lesion((3, 17, 23), slices=())
    delivery = make.deliver(make.trusted(lesion=lesion))
    (dataset,) = delivery.read("map")
    assert not np.frombuffer(dataset.FloatPixelData, dtype="<f4").any()
    assert "segmentation" not in delivery.roles
