"""Places that matter: what stands there, what a mistake would look like, and which tests must see it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One deliberate mistake.

    Parameters
    ----------
    file
        Relative to the root.
    old, new
        ``old`` stands exactly once in the file.
    tests
        What pytest is given: files, or single tests of slow files.
    breaks
        What would go wrong for a user.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    breaks: str


def mutated(mutant: Mutant, text: str) -> str:
    """``text`` of the file with the mistake in it; ValueError where ``old`` does not stand there once."""
    found = text.count(mutant.old)
    if found != 1:
        raise ValueError(f"{mutant.name}: {found} times in {mutant.file}: {mutant.old!r}")
    return text.replace(mutant.old, mutant.new)


SENSE, METHOD, MRD = (f"tests/recon/{room}/" for room in ("sense", "method", "mrd"))
STAGE = (METHOD + "test_cascade.py::TestStage",)
POINTS = (MRD + "test_geometry_points.py::test_point_source_is_reconstructed_where_it_is",)
TURNED = (MRD + "test_geometry_points.py::test_gateway_settings_move_the_image_and_not_the_geometry",)
VOXELS = (MRD + "test_geometry.py::test_voxel_centres_are_those_worked_out_by_hand",)
VERDICT = ("tests/recon/trust/test_verdict.py",)
OBJECTS = "tests/dicom_io/objects/"
IMAGES = (OBJECTS + "test_geometry_of_objects.py::test_single_frame_images_lie_where_the_hand_says",)
VOLUMES = (
    OBJECTS
    + "test_geometry_of_objects.py::test_highdicom_reads_map_and_segment_as_volumes_at_the_same_place",
)
RECEIVE = "tests/dicom_io/receive/"
FILES = ("tests/node/test_files.py",)
STATEMENT = ("tests/conformance/test_statement.py",)

MUTANTS = (
    # Delivery: what is claimed of it.
    Mutant(
        name="stow: every instance of a 202 counts as stored",
        file="dicom_io/deliver/stow_answer.py",
        old="        if sop_instance_uid not in self._stored:\n",
        new="        if False:\n",
        tests=("tests/dicom_io/deliver/test_stow.py::test_202_is_not_success",),
        breaks="an object that the archive never named is called delivered",
    ),
    Mutant(
        name="stow: an instance that stands in both lists counts as stored",
        file="dicom_io/deliver/stow_answer.py",
        old="        if sop_instance_uid in self._failed:\n",
        new="        if sop_instance_uid in self._failed and sop_instance_uid not in self._stored:\n",
        tests=("tests/dicom_io/deliver/test_stow.py::test_what_stands_in_both_lists_has_failed",),
        breaks="an object that the archive refused is called delivered",
    ),
    Mutant(
        name="qido: the first page of an answer counts as all of it",
        file="dicom_io/deliver/qido.py",
        old="        if nothing_new or found.issuperset(wanted):\n",
        new="        if True:\n",
        tests=("tests/dicom_io/deliver/test_qido.py::test_pages_are_turned_until_everything_is_found",),
        breaks="objects that stand on the second page of the archive's answer are sent again, for ever",
    ),
    Mutant(
        name="query: what is not found is not missed",
        file="node/delivery/proof.py",
        old="        left = wanted - asked.found\n",
        new="        left = set()\n",
        tests=("tests/node/delivery/test_stow_delivery.py::test_what_a_search_does_not_find_is_sent_again",),
        breaks="an object that the archive has lost stays lost",
    ),
    Mutant(
        name="commitment: the answer to the request counts as the report",
        file="node/delivery/proof.py",
        old="        if asked.answered:\n            latest",
        new="        if asked.answered:\n            return Proven(), ''\n            latest",
        tests=(
            "tests/node/delivery/test_commitment.py::test_committed_only_after_the_report_also_across_a_kill",
        ),
        breaks="a job is over before the archive has said that it takes responsibility",
    ),
    Mutant(
        name="commitment: what the archive has lost is not sent again",
        file="dicom_io/commitment.py",
        old='meaning="No such object instance", remedy=Remedy.SEND_AGAIN',
        new='meaning="No such object instance", remedy=Remedy.ASK_AGAIN',
        tests=("tests/dicom_io/deliver/test_proving.py::test_every_failure_reason_has_a_remedy",),
        breaks="a lost object is asked for, for ever, and never delivered",
    ),
    Mutant(
        name="earlier: any copy of the same length is the object of an earlier delivery",
        file="dicom_io/deliver/earlier.py",
        old="    return ours == theirs\n",
        new="    return len(ours) == len(theirs)\n",
        tests=(OBJECTS + "test_earlier.py",),
        breaks="another object under a UID of ours is called delivered and verified",
    ),
    Mutant(
        name="earlier: a file that changed since it was written is compared all the same",
        file="dicom_io/deliver/earlier.py",
        old=" or hashlib.sha256(content).hexdigest() != item.sha256:",
        new=":",
        tests=(OBJECTS + "test_earlier.py",),
        breaks="damaged bytes that Orthanc took are called verified",
    ),
    Mutant(
        name="report: highdicom compares the series' time with the clock",
        file="dicom_io/objects/report.py",
        old=', "series_date", "series_time")',
        new=")",
        tests=(OBJECTS + "test_series.py::test_no_clock_is_asked_when_objects_are_made",),
        breaks="every trusted scan from a time zone east of the node ends in quarantine",
    ),
    Mutant(
        name="status: what an archive has already counts as refused",
        file="dicom_io/status.py",
        old="self.outcome is not Outcome.REFUSED",
        new="self.outcome not in (Outcome.REFUSED, Outcome.HELD)",
        tests=("tests/dicom_io/test_status.py",),
        breaks="a kill between an archive's storing and our noting puts a scan into quarantine",
    ),
    Mutant(
        name="commitment: whoever may call may report on any transaction",
        file="node/jobs/proving.py",
        old='if not rows or rows[0]["destination"] not in destinations:',
        new="if not rows:",
        tests=("tests/node/jobs/test_proving.py::test_a_report_counts_from_the_destination_that_was_asked",),
        breaks="one archive can declare that another has committed",
    ),
    Mutant(
        name="rules: what the header does not say meets a condition",
        file="node/rules.py",
        old="        return bool(folded) and any(",
        new="        return any(",
        tests=("tests/node/test_rules.py::test_what_is_not_known_meets_no_condition",),
        breaks="a scan without a body part is made by the rule of one",
    ),
    # The method: the equation of a stage, where the lesion term acts.
    Mutant(
        name="stage: mu2 C^2 left out of the system",
        file="recon/method/cascade.py",
        old="weight = mu * (1 + share * (ratio - 1))",
        new="weight = mu * (1 - share)",
        tests=STAGE,
        breaks="the image where a lesion is suspected is no solution of the stage's equation",
    ),
    Mutant(
        name="stage: mu2 C^2 L left out of the right side",
        file="recon/method/cascade.py",
        old="right = plain + mu * share * (ratio * focused - denoised)",
        new="right = plain - mu * share * denoised",
        tests=STAGE,
        breaks="what the lesion network says never reaches the image",
    ),
    Mutant(
        name="stage: C in the place of C^2",
        file="recon/method/cascade.py",
        old="guide[:, 0] ** 2, torch.exp",
        new="guide[:, 0], torch.exp",
        tests=STAGE,
        breaks="the lesion term acts where the map is faint",
    ),
    Mutant(
        name="gate of the lesion term turned round",
        file="recon/method/cascade.py",
        old="suspected = torch.sigmoid(logits) >= self.gate",
        new="suspected = torch.sigmoid(logits) < self.gate",
        tests=(METHOD + "test_cascade.py::TestLesionTerm::test_below_the_gate_a_slice_is_its_own_reference",),
        breaks="slices without a suspicion are changed, slices with one are not",
    ),
    Mutant(
        name="activation without the score of its slice",
        file="recon/method/lesion.py",
        old="return gate * torch.sigmoid(",
        new="return torch.sigmoid(",
        tests=(METHOD + "test_cascade.py::TestActivationMap",),
        breaks="healthy slices get lesions painted into them",
    ),
    Mutant(
        name="weights: the hash of the file is not compared",
        file="recon/method/modelcard.py",
        old="if digest.hexdigest() != card.sha256 or (sha256 is not None",
        new="if (sha256 is not None",
        tests=(METHOD + "test_weights.py::test_one_changed_byte",),
        breaks="altered weights reconstruct patients",
    ),
    # Parallel imaging: operators and transforms.
    Mutant(
        name="adjoint without the conjugate",
        file="recon/sense/operators.py",
        old="return (self.maps.conj() * ifft_centred(self.mask * y)).sum(1)",
        new="return (self.maps * ifft_centred(self.mask * y)).sum(1)",
        tests=(SENSE + "test_operators.py::TestSenseOp::test_adjoint",),
        breaks="coils are combined with the wrong phase",
    ),
    Mutant(
        name="A^H A without the mask",
        file="recon/sense/operators.py",
        old='norm="ortho") * self._mask_rolled',
        new='norm="ortho")',
        tests=(SENSE + "test_operators.py::TestSenseOp::test_gram_is_adjoint_after_forward",),
        breaks="every reconstruction solves the system of a fully sampled scan",
    ),
    Mutant(
        name="reversed k-space off by one line",
        file="recon/sense/fourier.py",
        old="return np.roll(flipped, 1, axis) if kspace.shape[axis] % 2 == 0 else flipped",
        new="return flipped",
        tests=(SENSE + "test_fourier.py",),
        breaks="an image turned along its readout has a phase that was not measured",
    ),
    Mutant(
        name="zero-filling off the centre",
        file="recon/sense/fourier.py",
        old="before = n_out // 2 - n_in // 2",
        new="before = (n_out - n_in) // 2",
        tests=(SENSE + "test_fourier.py",),
        breaks="odd matrices are shifted by one voxel",
    ),
    Mutant(
        name="Fourier series evaluated with the other sign",
        file="recon/sense/fourier.py",
        old="evaluate = np.exp(2j * np.pi",
        new="evaluate = np.exp(-2j * np.pi",
        tests=(SENSE + "test_fourier.py",),
        breaks="interpolated images are mirrored",
    ),
    # ISMRMRD: where lines and voxels belong.
    Mutant(
        name="turned phase axis off by one line",
        file="recon/mrd/readout.py",
        old="return (2 * (self.n // 2) - index) % self.n if self.reverse else index",
        new="return self.n - 1 - index if self.reverse else index",
        tests=TURNED,
        breaks="the phase of an image whose phase direction is turned; its magnitude does not tell",
    ),
    Mutant(
        name="backward readouts off by one sample",
        file="recon/mrd/readout.py",
        old="center[turned] = n_samples - 1 - center[turned]",
        new="center[turned] = n_samples - center[turned]",
        tests=(MRD + "test_measurement.py::test_backward_readouts_meet_the_forward_ones",),
        breaks="every second line of an EPI scan is shifted: ghosts",
    ),
    Mutant(
        name="averages summed",
        file="recon/mrd/slices.py",
        old="total /= np.maximum(counts, 1).astype(np.float32)[:, None, None]",
        new="",
        tests=(MRD + "test_measurement.py::test_lines_averaged_unequally_are_each_their_own_mean",),
        breaks="lines that were averaged twice count twice",
    ),
    Mutant(
        name="noise whitening left out",
        file="recon/mrd/readout.py",
        old="return lines if self.whitening is None else np.matmul(self.whitening, lines)",
        new="return lines",
        tests=(MRD + "test_measurement_scans.py::test_channels_are_whitened_by_the_noise_measurement",),
        breaks="noisy coils spoil the image and the gate measures the wrong noise",
    ),
    Mutant(
        name="noise covariance without the conjugate",
        file="recon/mrd/whitening.py",
        old="wide @ wide.conj().T / noise.shape[1]",
        new="wide @ wide.T / noise.shape[1]",
        tests=(MRD + "test_whitening.py",),
        breaks="correlated coils stay correlated",
    ),
    Mutant(
        name="display flips turned round",
        file="recon/mrd/geometry.py",
        old="flip = tuple(bool(axes[a] @ w < 0)",
        new="flip = tuple(bool(axes[a] @ w > 0)",
        tests=VOXELS,
        breaks="left and right change places on the screen",
    ),
    Mutant(
        name="anchor of the readout off by one voxel",
        file="recon/mrd/geometry.py",
        old="anchor=(0, recon.matrix[0] // 2, recon.matrix[1] // 2)",
        new="anchor=(0, (recon.matrix[0] - 1) // 2, recon.matrix[1] // 2)",
        tests=VOXELS,
        breaks="every lesion is reported one voxel beside its place",
    ),
    Mutant(
        name="slices ordered against their positions",
        file="recon/mrd/geometry.py",
        old='return np.argsort(frames.position_mm @ _ascending(axes[2]), kind="stable")',
        new='return np.argsort(frames.position_mm @ -_ascending(axes[2]), kind="stable")',
        tests=POINTS,
        breaks="slices have the positions of others",
    ),
    # Trust: the gate.
    Mutant(
        name="gate: what is inside the card's range is outside",
        file="recon/trust/verdict.py",
        old="return [entry for entry in entries if not entry.low <= entry.value <= entry.high]",
        new="return [entry for entry in entries if entry.low <= entry.value <= entry.high]",
        tests=VERDICT,
        breaks="good scans fall back, bad ones are trusted",
    ),
    Mutant(
        name="gate: NaN passes",
        file="recon/trust/verdict.py",
        old="found = [entry for entry in entries if not entry.value <= entry.high]",
        new="found = [entry for entry in entries if entry.value > entry.high]",
        tests=VERDICT,
        breaks="an image that is not finite is trusted",
    ),
    Mutant(
        name="gate: one slice in ten is too many",
        file="recon/trust/verdict.py",
        old="if len(affected) > TOLERATED_FRACTION * len(with_signal):",
        new="if len(affected) >= TOLERATED_FRACTION * len(with_signal):",
        tests=VERDICT,
        breaks="off by one in what is tolerated",
    ),
    Mutant(
        name="fallback: the worse method is chosen",
        file="recon/trust/fallback.py",
        old="chosen = min(errors,",
        new="chosen = max(errors,",
        tests=("tests/recon/trust/test_fallback.py::test_wavelets_are_delivered_where_they_predict_better",),
        breaks="the fallback is the image that predicts the scan worse",
    ),
    # DICOM objects.
    Mutant(
        name="threshold: what meets it exactly is left out",
        file="recon/types/reconstruction.py",
        old="return self.activation >= self.threshold",
        new="return self.activation > self.threshold",
        tests=(
            OBJECTS + "test_segmentation.py::test_a_threshold_that_an_activation_meets_exactly_includes_it",
        ),
        breaks="segmentation and text say different things",
    ),
    Mutant(
        name="pixel intensity cut instead of rounded",
        file="dicom_io/objects/intensity.py",
        old="return np.rint(_magnitude(volume) / self.slope).astype(np.uint16)",
        new="return (_magnitude(volume) / self.slope).astype(np.uint16)",
        tests=(OBJECTS + "test_mr_image.py::test_scaling_round_trip",),
        breaks="the stored values are darker than the Real World Value Mapping says",
    ),
    Mutant(
        name="ImagePositionPatient of the first slice",
        file="dicom_io/objects/plane.py",
        old="position = geometry.voxel_centre_mm(s, 0, 0)",
        new="position = geometry.voxel_centre_mm(0, 0, 0)",
        tests=IMAGES,
        breaks="all slices lie at one place",
    ),
    Mutant(
        name="PixelSpacing the wrong way round",
        file="dicom_io/objects/plane.py",
        old="dataset.PixelSpacing = [decimal(spacing_y), decimal(spacing_x)]",
        new="dataset.PixelSpacing = [decimal(spacing_x), decimal(spacing_y)]",
        tests=IMAGES,
        breaks="distances measured in the viewer are wrong",
    ),
    Mutant(
        name="segmentation: frames in the other order",
        file="dicom_io/objects/segmentation.py",
        old="pixel_array=numbered(marks, lesion.activation.shape),",
        new="pixel_array=numbered(marks, lesion.activation.shape)[::-1],",
        tests=VOLUMES,
        breaks="lesions are marked in the wrong slices",
    ),
    Mutant(
        name="map: frames in the other order",
        file="dicom_io/objects/parametric_map.py",
        old="pixel_array=values,",
        new="pixel_array=values[::-1],",
        tests=VOLUMES,
        breaks="the activation is shown in the wrong slices",
    ),
    Mutant(
        name="dciodvfy: errors are not looked at",
        file="dicom_io/objects/validate.py",
        old="    if problems:\n",
        new="    if not problems:\n",
        tests=(OBJECTS + "test_validate.py::test_one_illegal_object_keeps_all_from_appearing",),
        breaks="illegal objects leave the node",
    ),
    Mutant(
        name="maps and segmentations do not list the Raw Data objects",
        file="dicom_io/objects/attributes.py",
        old="            dataset.ReferencedSeriesSequence.append(_raw_data_series(job.context))\n",
        new="            pass\n",
        tests=(OBJECTS + "test_modules.py::test_what_is_referred_to_is_listed_with_its_series",),
        breaks="a reader cannot find the series of what an object refers to",
    ),
    Mutant(
        name="Raw Data without Laterality",
        file="dicom_io/raw_data/wrap.py",
        old="        dataset.Laterality = laterality\n",
        new="        pass\n",
        tests=(OBJECTS + "test_dciodvfy.py::test_there_is_no_error_and_every_warning_is_explained[knee]",),
        breaks="the gateway sends illegal Raw Data where no body part is named",
    ),
    Mutant(
        name="legend: a line fewer where something is marked",
        file="dicom_io/objects/texts.py",
        old='lines.append("Marked: what is outlined" if lesion.mask[s].any() else _sentence(NOTHING_MARKED))',
        new="lines += [] if lesion.mask[s].any() else [_sentence(NOTHING_MARKED)]",
        tests=(OBJECTS + "test_simpleitk.py::test_every_series_of_single_frames_is_one_volume",),
        breaks="readers take the fused pictures for two series",
    ),
    Mutant(
        name="UIDs do not depend on the role",
        file="dicom_io/uids.py",
        old='return name_uid(self.hex, "series", role)',
        new='return name_uid(self.hex, "series")',
        tests=("tests/dicom_io/test_uids.py",),
        breaks="all series of a job become one",
    ),
    # Durability.
    Mutant(
        name="published_file without fsync",
        file="dicom_io/files.py",
        old="        sync_file(scratch)\n",
        new="",
        tests=("tests/dicom_io/test_files.py",),
        breaks="a power cut leaves an empty file under a good name",
    ),
    Mutant(
        name="published_file without fsync of its folder",
        file="dicom_io/files.py",
        old="    sync_directory(final.parent)\n",
        new="",
        tests=("tests/dicom_io/test_files.py",),
        breaks="a power cut takes back a name that was relied on",
    ),
    Mutant(
        name="published_directory without fsync of its files",
        file="node/files.py",
        old="            sync_file(path)\n",
        new="            pass\n",
        tests=FILES,
        breaks="a power cut leaves a reconstruction without its pixels",
    ),
    Mutant(
        name="published_directory without fsync of itself",
        file="node/files.py",
        old="    sync_directory(scratch)\n",
        new="",
        tests=FILES,
        breaks="a power cut leaves a folder that lacks files",
    ),
    Mutant(
        name="encoded objects without fsync",
        file="dicom_io/objects/publish.py",
        old="            sync_file(scratch)\n",
        new="",
        tests=(OBJECTS + "test_publish.py",),
        breaks="a power cut leaves empty objects for the PACS",
    ),
    Mutant(
        name="fsync is no fsync",
        file="dicom_io/files.py",
        old="        os.fsync(descriptor)\n",
        new="        pass\n",
        tests=("tests/dicom_io/test_files.py",),
        breaks="nothing is durable at all",
    ),
    Mutant(
        name="spool: success without fsync of the object",
        file="dicom_io/receive/spool.py",
        old="synced = disk.submit(sync_file, incoming.path)",
        new="synced = disk.submit(str, incoming.path)",
        tests=("tests/dicom_io/receive/test_listener.py::test_order_of_safety",),
        breaks="a power cut loses a scan that was acknowledged",
    ),
    # Identity, hashes, who is let in, what is tried again.
    Mutant(
        name="spool: a part is not compared with its hash",
        file="dicom_io/receive/spool.py",
        old="        verify_part(header)\n",
        new="",
        tests=("tests/dicom_io/receive/test_refusals.py::test_refused_objects",),
        breaks="a scan that was damaged on the way is acknowledged",
    ),
    Mutant(
        name="spool: one scan under two patients",
        file="dicom_io/receive/spool.py",
        old="if any(other.patient != header.patient for other",
        new="if any(not other.patient for other",
        tests=(
            "tests/dicom_io/receive/test_refusals.py"
            "::test_the_same_measurement_under_another_patient_is_quarantined",
        ),
        breaks="one scan is reconstructed for two patients",
    ),
    Mutant(
        name="spool: a part that says another number of parts is taken",
        file="dicom_io/receive/spool.py",
        old="        require_same_file([header, *others])\n",
        new="",
        tests=("tests/dicom_io/receive/test_written_by_others.py",),
        breaks="a scan waits for ever for parts that nobody sends",
    ),
    Mutant(
        name="statement: an element of the block has another VR",
        file="dicom_io/raw_data/block.py",
        old='Element(0x08, "LO"',
        new='Element(0x08, "IS"',
        tests=STATEMENT,
        breaks="a gateway of another maker is told something else than what the node writes",
    ),
    Mutant(
        name="statement: as SCU another PDU length is offered",
        file="dicom_io/deliver/association.py",
        old="            max_pdu=MAXIMUM_PDU_BYTES,\n",
        new="",
        tests=STATEMENT,
        breaks="the conformance statement says what the node does not do",
    ),
    Mutant(
        name="payload: the hash is not compared",
        file="dicom_io/raw_data/payload.py",
        old="    if digest.hexdigest() != expected:\n",
        new="    if not expected:\n",
        tests=("tests/dicom_io/raw_data/test_payload.py::test_one_flipped_bit_is_found",),
        breaks="a scan that was damaged on the way is reconstructed",
    ),
    Mutant(
        name="identity: patients are not compared",
        file="dicom_io/raw_data/context.py",
        old='        ("PatientID", identity.patient_id),\n',
        new="",
        tests=("tests/dicom_io/raw_data/test_context.py",),
        breaks="a scan arrives under another patient",
    ),
    Mutant(
        name="identity: names never contradict",
        file="dicom_io/raw_data/context.py",
        old="not (ours <= theirs or theirs <= ours)",
        new="not (ours <= theirs or theirs)",
        tests=("tests/dicom_io/raw_data/test_context.py",),
        breaks="a scan arrives under another patient",
    ),
    Mutant(
        name="allow-list turned round",
        file="dicom_io/receive/policy.py",
        old="return any(peer in network for network in networks)",
        new="return not any(peer in network for network in networks)",
        tests=("tests/dicom_io/receive/test_policy.py",),
        breaks="everybody but the gateways may send",
    ),
    Mutant(
        name="a PACS without space is given up",
        file="dicom_io/status.py",
        old='"PS3.4 B.2.3", last=0xA7FF, transient=True)',
        new='"PS3.4 B.2.3", last=0xA7FF)',
        tests=("tests/dicom_io/test_status.py",),
        breaks="objects are quarantined because a disk was full for an hour",
    ),
    Mutant(
        name="a final refusal is tried for ever",
        file="dicom_io/status.py",
        old='"PS3.4 B.2.3", last=0xCFFF)',
        new='"PS3.4 B.2.3", last=0xCFFF, transient=True)',
        tests=("tests/dicom_io/test_status.py",),
        breaks="nobody is told that the PACS will never take the object",
    ),
    Mutant(
        name="engine: nothing is handed over",
        file="node/jobs/engine.py",
        old="DBOS.enqueue_workflow(work.queue, self._functions[work.kind], *work.arguments())",
        new="pass",
        tests=("tests/node/test_service.py::test_one_scan_in_its_objects_in_the_pacs",),
        breaks="every scan is acknowledged and none is reconstructed",
    ),
    Mutant(
        name="engine: what has ended is never begun again",
        file="node/jobs/engine.py",
        old="                DBOS.rewind_workflow(work.id, queue_name=work.queue)\n",
        new="                pass\n",
        tests=("tests/node/jobs/test_databases.py::test_an_older_job_table_is_restored",),
        breaks="a retry, or a restored job table, leaves scans lying for ever",
    ),
    Mutant(
        name="engine: who waits for another try keeps a place",
        file="node/jobs/workflows.py",
        old="            pause = self._runner.pause(work, move)\n",
        new=(
            '            __import__("time").sleep(move.wait_s)\n'
            "            pause = self._runner.pause(work, move)\n"
        ),
        tests=("tests/node/jobs/test_places.py",),
        breaks="many scans that a PACS does not take now keep all later ones waiting",
    ),
    Mutant(
        name="service: a database that was replaced is not noticed",
        file="node/service.py",
        old="        if _file_at(path) != file:\n",
        new="        if _file_at(path) is None:\n",
        tests=(
            "tests/node/jobs/test_databases.py"
            "::test_a_database_lost_under_a_running_node_ends_it_and_the_next_start_makes_it_right",
        ),
        breaks="the node writes into a file that nobody finds any more",
    ),
    Mutant(
        name="listener: a malformed request is not looked at",
        file="dicom_io/receive/dimse.py",
        old="refusal = _fault(message) or (None if has_data_set else malformed_command())",
        new="refusal = None if has_data_set else malformed_command()",
        tests=("tests/dicom_io/receive/test_commands.py",),
        breaks="a C-STORE without SOP Instance UID is met with silence",
    ),
    Mutant(
        name="parts are deleted from under a job",
        file="node/retention/parts.py",
        old="if not unknown or not moved(",
        new="if not moved(",
        tests=("tests/node/retention/test_parts.py",),
        breaks="a scan whose last part has just come loses its raw data",
    ),
    Mutant(
        name="objects leave without being compared",
        file="node/delivery/deliver.py",
        old='            return hashlib.file_digest(file, "sha256").hexdigest() == item.sha256\n',
        new="            return bool(file)\n",
        tests=(
            "tests/node/delivery/test_destinations.py"
            "::test_objects_that_are_not_what_was_written_are_made_again_and_never_leave[foreign]",
        ),
        breaks="another scan's file in the place of this one's is delivered",
    ),
    Mutant(
        name="one crash more than allowed",
        file="node/jobs/runner.py",
        old="if self._store.crashes(key, stage) >= self._max_crashes:",
        new="if self._store.crashes(key, stage) > self._max_crashes:",
        tests=(
            "tests/node/jobs/test_outages.py::test_a_bad_scan_is_quarantined_and_does_not_stop_the_others",
        ),
        breaks="a bad scan ends the worker once more than the setting says",
    ),
    Mutant(
        name="rows are promised before they are on the disk",
        file="node/jobs/sqlite.py",
        old="synchronous=FULL",
        new="synchronous=OFF",
        tests=("tests/node/jobs/test_store.py::test_a_row_is_on_the_disk_before_it_is_promised",),
        breaks="a power cut takes a scan that was acknowledged",
    ),
    Mutant(
        name="workers: what the dead write is taken",
        file="node/jobs/writer.py",
        old="if self.epoch is not None and not self._lives(self.epoch):",
        new="if False:",
        tests=("tests/node/jobs/test_members.py",),
        breaks="a worker that was frozen and wakes writes over what its heir has recorded",
    ),
    Mutant(
        name="workers: the silent ones live, the others are dead",
        file="node/jobs/workers.py",
        old="AND {self._silence}>?",
        new="AND {self._silence}<?",
        tests=("tests/node/jobs/test_members.py",),
        breaks="the work of a dead worker lies for ever, and that of living ones is done twice",
    ),
    Mutant(
        name="workers: who was heard of again is dead all the same",
        file="node/jobs/workers.py",
        old="WHERE epoch=? AND beat_s=?",
        new="WHERE epoch=? AND beat_s>=?",
        tests=("tests/node/jobs/test_members.py",),
        breaks="after an outage of the database workers that live are sent home",
    ),
    Mutant(
        name="workers: scratch of a later epoch is removed",
        file="node/files.py",
        old="        if _epoch_of(leftover) <= epoch:\n",
        new="        if leftover:\n",
        tests=FILES,
        breaks="a worker that was taken for dead deletes what its heir is writing",
    ),
    Mutant(
        name="backoff without its cap",
        file="node/backoff.py",
        old="return min(self.base_s * 2.0**doublings, self.cap_s)",
        new="return self.base_s * 2.0**doublings",
        tests=("tests/node/jobs/test_job.py::test_backoff_doubles_up_to_its_cap_for_ever",),
        breaks="a job waits for days after a long outage",
    ),
    # Orientation: sign and flips, and what proves them.
    Mutant(
        name="orientation: the sign is not applied",
        file="recon/types/measurement.py",
        old="every = self.fft_sign == 1",
        new="every = False",
        tests=("tests/recon/mrd/test_orientation.py",),
        breaks="a scanner whose sign was settled still shows left for right",
    ),
    Mutant(
        name="orientation: turned beside the middle voxel",
        file="recon/mrd/orientation.py",
        old="np.roll(volume, 1, axis)",
        new="np.roll(volume, 0, axis)",
        tests=("tests/recon/mrd/test_orientation.py",),
        breaks="orient compares images that the reader does not make",
    ),
    Mutant(
        name="orient: correlation without significance decides",
        file="recon/likeness.py",
        old="self.evidence >= MIN_EVIDENCE and self.standard_errors",
        new="self.evidence >= 0 or self.standard_errors",
        tests=("tests/recon/test_likeness.py",),
        breaks="noise decides which side is left",
    ),
    Mutant(
        name="orient: one rival beaten is enough",
        file="recon/likeness.py",
        old="self.alike and all(",
        new="self.alike and any(",
        tests=(
            "tests/node/offline/test_orient.py::test_object_symmetric_in_one_direction_only_is_refused_as_well",
        ),
        breaks="a head without a left and a right settles left and right",
    ),
    # What a site may ask for: the summary page, and images of evened intensity.
    Mutant(
        name="summary: the pictures are of another slice",
        file="dicom_io/objects/summary_page.py",
        old="np.lexsort((middle, strongest, lesion.scores.max(axis=1)))[-1]",
        new="np.lexsort((middle, strongest, lesion.scores.max(axis=1)))[0]",
        tests=(OBJECTS + "test_summary.py",),
        breaks="the page shows the slice that is least suspected",
    ),
    Mutant(
        name="summary: the study date is on the page",
        file="dicom_io/objects/summary_page.py",
        old='"Body part": str(attributes.get("BodyPartExamined") or ""),',
        new='"Study": str(attributes.get("StudyDate") or ""),',
        tests=(OBJECTS + "test_summary.py::test_the_pdf_names_no_patient",),
        breaks="a page without a patient can be traced to one",
    ),
    Mutant(
        name="pdf: with the time of the clock",
        file="dicom_io/objects/pdf.py",
        old="invariant=1",
        new="invariant=0",
        tests=(OBJECTS + "test_pdf.py",),
        breaks="a re-run sends other bytes under the same UID, and archives refuse them",
    ),
    Mutant(
        name="figures: the best slice is told",
        file="recon/trust/figures.py",
        old="replace(max(figures, key=_severity)",
        new="replace(min(figures, key=_severity)",
        tests=("tests/recon/trust/test_figures.py",),
        breaks="a scan with one bad slice looks like one without",
    ),
    Mutant(
        name="receive field: edges count like the rest",
        file="recon/receive_field.py",
        old="1.0 / (1.0 + size**2)",
        new="np.ones_like(size)",
        tests=("tests/recon/test_receive_field.py",),
        breaks="anatomy is taken for a field, and evened out",
    ),
    Mutant(
        name="receive field: air is multiplied too",
        file="recon/receive_field.py",
        old="np.exp(-_share(body) * np.clip(",
        new="np.exp(-np.clip(",
        tests=("tests/recon/test_receive_field.py",),
        breaks="the noise around the body is brightened",
    ),
    Mutant(
        name="corrected: the factor the other way round",
        file="dicom_io/objects/corrected.py",
        old="job.reconstruction.image * field.factor",
        new="job.reconstruction.image / field.factor",
        tests=(OBJECTS + "test_corrected.py",),
        breaks="the shading is doubled",
    ),
    # Operations: what is reloaded, told, counted and copied.
    Mutant(
        name="reload: who may send changes before the file is known to be good",
        file="node/reload.py",
        old="        Recipe.of(config)\n        destinations",
        new="        self.listener.policy = access_policy(config)\n"
        "        Recipe.of(config)\n        destinations",
        tests=("tests/node/test_reload.py::test_a_file_that_is_wrong_changes_nothing",),
        breaks="half of a wrong configuration is in effect",
    ),
    Mutant(
        name="reload: everything is taken at once",
        file="node/reload.py",
        old='if f"{name}.{key}" in LIVE',
        new='if f"{name}.{key}"',
        tests=("tests/node/test_reload.py::test_only_what_is_live_is_merged",),
        breaks="a port is said to wait for a restart and stands in the configuration that is in effect",
    ),
    Mutant(
        name="metrics: senders are labels",
        file="dicom_io/receive/listener.py",
        old='self._tally.count("accepted")',
        new="self._tally.count(request.calling_ae_title)",
        tests=("tests/node/monitor/test_monitor.py::test_a_scan_is_counted_and_nobody_is_named",),
        breaks="whoever may read metrics learns names, and a stranger can make as many series as he likes",
    ),
    Mutant(
        name="metrics: a try is counted at every scrape",
        file="node/monitor/metrics.py",
        old="if item.id not in self._seen:",
        new="if item.id:",
        tests=("tests/node/monitor/test_monitor.py::test_tries_are_counted_once_whoever_ends_them_when",),
        breaks="durations count what ended while something older still runs again and again",
    ),
    Mutant(
        name="readyz: a node that drains is ready",
        file="node/monitor/vitals.py",
        old="_unless(not vitals.draining()",
        new="_unless(True",
        tests=("tests/node/monitor/test_monitor.py::test_each_part_counts",),
        breaks="scans are sent to a node that is about to end",
    ),
    Mutant(
        name="notices: a signature without its time",
        file="node/notify/ways.py",
        old='moment.encode("ascii") + b"." + body',
        new="body",
        tests=(
            "tests/node/notify/test_notify.py::test_a_job_in_quarantine_is_told_once_signed_and_without_a_name",
        ),
        breaks="an old message can be sent once more by anybody",
    ),
    Mutant(
        name="notices: what was told is not noted",
        file="node/notify/watch.py",
        old="told.write(present)",
        new="told.write(before)",
        tests=(
            "tests/node/notify/test_notify.py::test_a_job_in_quarantine_is_told_once_signed_and_without_a_name",
        ),
        breaks="the same mail comes every five minutes, and after every restart",
    ),
    Mutant(
        name="backup: only what is finished",
        file="node/backup.py",
        old="if path not in over:",
        new="if path in over:",
        tests=("tests/node/test_backup.py::test_yesterdays_backup_loses_and_doubles_nothing",),
        breaks="what was not delivered yet is lost with the disk",
    ),
    Mutant(
        name="backup: stages whose files are not in it",
        file="node/backup.py",
        old="        table.rewind()\n",
        new="        pass\n",
        tests=("tests/node/test_backup.py::test_yesterdays_backup_loses_and_doubles_nothing",),
        breaks="a restored node looks for intermediate results that it does not have",
    ),
    Mutant(
        name="doctor: the last certificate of a chain",
        file="node/doctor/certificates.py",
        old="ends=min(item.not_valid_after_utc",
        new="ends=max(item.not_valid_after_utc",
        tests=("tests/node/doctor/test_certificates_and_clocks.py::test_of_a_chain_the_first_to_end_counts",),
        breaks="TLS ends one night and doctor had said that all is well",
    ),
    # Ways in: nothing is promised before it is on disk, and half a stream is no measurement.
    Mutant(
        name="stream: not synced before it counts",
        file="node/doors/streams.py",
        old="                sync_file(path)\n        except",
        new="                pass\n        except",
        tests=("tests/node/doors/test_streams.py::test_bytes_and_name_are_durable_before_a_stream_counts",),
        breaks="after a power cut a stream that was acknowledged is empty",
    ),
    Mutant(
        name="stream: the name is not synced",
        file="node/doors/streams.py",
        old="            path.replace(final)\n            sync_directory(self._folder)\n        return final",
        new="            path.replace(final)\n        return final",
        tests=("tests/node/doors/test_streams.py::test_bytes_and_name_are_durable_before_a_stream_counts",),
        breaks="after a power cut a whole stream is kept as one that was cut off",
    ),
    Mutant(
        name="stream: half a message is a message",
        file="node/doors/frames.py",
        old="if len(data) < n_bytes:",
        new="if not data and n_bytes:",
        tests=("tests/node/doors/test_frames.py::test_a_stream_cut_anywhere_is_cut",),
        breaks="a truncated stream becomes a measurement with samples missing",
    ),
    Mutant(
        name="folder: moved before it is a job",
        file="node/doors/intake.py",
        old="return None if measurement is None else self._received(measurement)",
        new="return None",
        tests=("tests/node/doors/test_folder.py::test_a_file_becomes_a_measurement_and_moves_to_taken",),
        breaks="a file lies in taken and no job knows of it",
    ),
    Mutant(
        name="held: delivered all the same",
        file="node/jobs/job.py",
        old="return self.identity is Identity.MISSING and self.stage is Stage.RECONSTRUCTED",
        new="return False",
        tests=(
            "tests/node/test_assignments.py::test_held_stays_held_over_restarts_and_the_loss_of_the_table",
        ),
        breaks="images of nobody lie in the PACS under an invented patient",
    ),
    Mutant(
        name="gateway: a node that is away is a refusal",
        file="node/gateway/watch.py",
        old="passing = error.code in PASSING or",
        new="passing = False or",
        tests=("tests/node/gateway/test_watch.py::test_a_node_that_is_away_loses_nothing",),
        breaks="while the node is restarted every scan of the day is put aside as failed",
    ),
    # Security: who may come in, and what is on record.
    Mutant(
        name="tls: a caller without certificate is let in",
        file="dicom_io/tls.py",
        old="ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL",
        new="ssl.CERT_OPTIONAL",
        tests=(RECEIVE + "test_tls.py::test_a_caller_without_certificate_is_refused",),
        breaks="whoever reaches the port may send",
    ),
    Mutant(
        name="tls: the revocation list is read and not used",
        file="dicom_io/tls.py",
        old="context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF",
        new="pass",
        tests=(RECEIVE + "test_tls.py::test_a_certificate_that_proves_nothing",),
        breaks="a stolen key goes on being believed",
    ),
    Mutant(
        name="tls: any certificate proves any AE title",
        file="dicom_io/receive/policy.py",
        old="return self.certificate is None or self.certificate.casefold() in names",
        new="return True",
        tests=(RECEIVE + "test_tls.py::test_a_title_bound_to_the_certificate_of_another",),
        breaks="one gateway can send as another",
    ),
    Mutant(
        name="tls: TLS 1.1 is spoken",
        file="dicom_io/tls.py",
        old="context.minimum_version = ssl.TLSVersion.TLSv1_2",
        new="context.minimum_version = ssl.TLSVersion.TLSv1",
        tests=(RECEIVE + "test_tls.py::test_versions_that_are_refused",),
        breaks="PS3.15 B.12 is not kept",
    ),
    Mutant(
        name="console: a form needs no token",
        file="node/console/guard.py",
        old="if not secrets.compare_digest(given.encode(), self.form_token.encode()):",
        new="if False:",
        tests=("tests/node/console/test_login.py::test_a_form_needs_the_token_of_its_own_session",),
        breaks="another page can press buttons in an operator's browser",
    ),
    Mutant(
        name="console: a viewer may do everything",
        file="node/console/guard.py",
        old="if not visitor.role.may(",
        new="if not Role.ADMIN.may(",
        tests=("tests/node/console/test_login.py::test_what_each_role_may",),
        breaks="roles are words",
    ),
    Mutant(
        name="console: pages are shown before the login",
        file="node/console/guard.py",
        old="        if visitor is None:\n            raise",
        new="        if visitor is None and acts:\n            raise",
        tests=("tests/node/console/test_login.py::test_nobody_sees_anything_before_the_login",),
        breaks="patients' images are there for everybody",
    ),
    Mutant(
        name="audit: the place moves on before the repository has the line",
        file="node/audit/syslog.py",
        old="        _await_acknowledgement(connection)\n",
        new="",
        tests=(
            "tests/node/audit/test_trail.py::test_a_repository_gets_everything_although_it_is_away_at_times",
        ),
        breaks="events are lost while the repository is away",
    ),
)
