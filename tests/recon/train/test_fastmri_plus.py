"""fastMRI+: boxes and their flip, states of a file, oddities; on our own tables and on the real ones."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lfmri_node.recon.errors import InvalidDataset
from lfmri_node.recon.train.fastmri_plus import FastMriPlus, FileState, read_tables
from lfmri_node.recon.train.real import Box

HEAD = "file,slice,study_level,x,y,width,height,label"

boxes = st.builds(
    Box,
    row=st.integers(-20, 330),
    column=st.integers(-20, 330),
    height=st.integers(-3, 200),
    width=st.integers(-3, 200),
    label=st.just("x"),
)


def pixels(box: Box, shape: tuple[int, int]) -> np.ndarray:
    """bool ``shape``, from the definition: a pixel is inside or it is not."""
    rows, columns = np.indices(shape)
    return (
        (rows >= box.row)
        & (rows < box.row + box.height)
        & (columns >= box.column)
        & (columns < box.column + box.width)
    )


class TestBox:
    @given(boxes, st.integers(1, 400))
    def test_flip_is_an_involution(self, box, n_rows):
        assert box.flipped_up_down(n_rows).flipped_up_down(n_rows) == box

    @given(boxes)
    def test_flip_covers_the_flipped_pixels(self, box):
        shape = (320, 300)
        assert np.array_equal(pixels(box.flipped_up_down(320), shape), np.flipud(pixels(box, shape)))

    @given(boxes)
    def test_clipping_keeps_the_pixels_inside(self, box):
        shape = (320, 300)
        inside = box.clipped(shape)
        assert np.array_equal(pixels(inside, shape), pixels(box, shape))
        assert inside.empty == (not pixels(box, shape).any())
        if not inside.empty:
            assert 0 <= inside.row < inside.row + inside.height <= 320
            assert 0 <= inside.column < inside.column + inside.width <= 300

    @given(boxes)
    def test_clipping_and_flipping_can_be_exchanged(self, box):
        shape = (320, 320)
        one = box.clipped(shape).flipped_up_down(320)
        other = box.flipped_up_down(320).clipped(shape)
        assert one == other or (one.empty and other.empty)


@pytest.fixture
def read(tmp_path):
    """``read(rows, reviewed)``: tables with these lines."""

    def read(rows: list[str], reviewed: list[str], head: str = HEAD, **options: object) -> FastMriPlus:
        (tmp_path / "knee.csv").write_text("\n".join([head, *rows, ""]))
        (tmp_path / "list.csv").write_text("\n".join([*reviewed, ""]))
        return read_tables(tmp_path / "knee.csv", tmp_path / "list.csv", **options)

    return read


class TestTables:
    def test_three_states_of_a_file(self, read):
        table = read(["file1,3,No,10,20,5,6,Meniscus Tear"], ["file1", "file2"])
        states = [table.state(name) for name in ("file1", "file2", "file3")]
        assert states == [FileState.FINDING, FileState.NO_FINDING, FileState.UNLABELLED]
        labels = [table.slice_label(*place) for place in (("file1", 3), ("file1", 4), ("file2", 3))]
        assert labels == [True, False, False]
        assert table.slice_label("file3", 3) is None

    def test_row_of_the_stored_image_is_320_minus_y_minus_height(self, read):
        table = read(["file1,3,No,10,20,5,6,Meniscus Tear"], ["file1"])
        assert table.boxes("file1", 3) == (
            Box(row=320 - 20 - 6, column=10, height=6, width=5, label="Meniscus Tear"),
        )
        assert table.boxes("file1", 2) == ()

    def test_study_level_row_tells_nothing_of_a_slice(self, read):
        table = read(["file1,0,Yes,,,,,artifact", "file1,5,No,1,1,5,5,Joint Bodies"], ["file1"])
        assert table.study_level == {"file1": ("artifact",)}
        assert table.state("file1") is FileState.FINDING
        assert [table.slice_label("file1", s) for s in (0, 5)] == [None, True]
        assert (table.n_boxes, table.n_study_level) == (1, 1)

    def test_oddities_are_survived_and_named(self, read):
        table = read(
            [
                "file1,3,No,10,-1,5,11,Joint Effusion ",
                "file1,4,No,190,201,18,0,Cartilage",
                "file2,4,No,400,20,18,5,Cartilage",
                "file2,4,No,40,20,18,5,Cartilage",
                "file2,4,No,40,20,18,5,Cartilage",
            ],
            ["file1", "file2 ", "", "Knee data"],
        )
        assert table.labels == ("Cartilage", "Joint Effusion")
        assert table.boxes("file1", 3)[0] == Box(
            row=310, column=10, height=10, width=5, label="Joint Effusion"
        )
        assert len(table.boxes("file2", 4)) == 1
        assert [odd.place for odd in table.clipped] == ["file1 slice 3"]
        assert [odd.place for odd in table.dropped] == ["file1 slice 4", "file2 slice 4", "file2 slice 4"]
        assert [odd.place for odd in table.strays] == ["list.csv line 4"]
        assert table.reviewed == {"file1", "file2"}
        assert table.n_boxes == 5

    def test_slice_whose_only_box_was_dropped_is_unclear(self, read):
        """It is in the files with a finding, and neither positive nor negative itself."""
        table = read(["file1,4,No,190,201,18,0,Cartilage"], ["file1"])
        assert table.state("file1") is FileState.FINDING
        assert (table.slice_label("file1", 4), table.boxes("file1", 4)) == (None, ())
        assert table.slice_label("file1", 5) is False

    @pytest.mark.parametrize(
        "row",
        [
            "file1,3,No,10,20,5,Meniscus Tear",
            "file1,3,No,10,20,5,6,Meniscus Tear,more",
            "file1,3,Maybe,10,20,5,6,Meniscus Tear",
            "file1,three,No,10,20,5,6,Meniscus Tear",
            "file1,3,No,,,,,Meniscus Tear",
        ],
    )
    def test_malformed_row_is_refused_with_its_line(self, read, row):
        with pytest.raises(InvalidDataset, match=r"LF-LAB-106: knee\.csv line 3"):
            read(["file1,3,No,10,20,5,6,Meniscus Tear", row], ["file1"])

    def test_other_tables_are_refused(self, read, tmp_path):
        with pytest.raises(InvalidDataset, match=r"LF-LAB-106: knee\.csv line 1"):
            read([], [], head="name,x,y")
        with pytest.raises(InvalidDataset, match="LF-LAB-106"):
            read_tables(tmp_path / "absent.csv", tmp_path / "list.csv")


@pytest.fixture(scope="module")
def knee(shared_data) -> FastMriPlus:
    folder: Path = shared_data("fastmri_plus")
    return read_tables(folder / "knee.csv", folder / "knee_file_list.csv")


class TestRealKnee:
    def test_counts_are_those_published(self, knee):
        assert (knee.n_boxes, knee.n_study_level) == (16_154, 13)
        assert len(knee.files) == 974
        assert len(knee.labels) == 22
        assert len(knee.reviewed) == 1_172
        assert knee.files <= knee.reviewed

    def test_oddities_are_those_known(self, knee):
        """Six y = -1, one height of 0, one stray line; and five rows of one file given twice."""
        assert len(knee.clipped) == 6
        assert all("y -1" in odd.what for odd in knee.clipped)
        flat = [odd.place for odd in knee.dropped if "no extent" in odd.what]
        twice = [odd.place for odd in knee.dropped if "twice" in odd.what]
        assert flat == ["file1002097 slice 27"]
        assert twice == [f"file1001706 slice {s}" for s in range(21, 26)]
        assert len(knee.dropped) == 6
        assert [odd.what for odd in knee.strays] == ["'Knee data' names no file, left out"]
        assert "Joint Effusion" in knee.labels

    def test_what_is_left_lies_inside_the_image(self, knee):
        found = [box for file, s in knee.drawn for box in knee.boxes(file, s)]
        assert len(found) == 16_154 - 6
        assert all(box.clipped((320, 320)) == box and not box.empty for box in found)
        assert np.median([box.height * box.width for box in found]) == pytest.approx(546, abs=2)

    def test_first_row_of_the_table(self, knee):
        """file1000001, slice 14: x 90, y 173, 35 x 10: rows 137 to 146 of the stored image."""
        label = "Cartilage - Partial Thickness loss/defect"
        box = Box(row=137, column=90, height=10, width=35, label=label)
        assert box in knee.boxes("file1000001", 14)

    def test_states(self, knee):
        states = [knee.state(file) for file in knee.reviewed]
        assert states.count(FileState.FINDING) == 974
        assert states.count(FileState.NO_FINDING) == 1_172 - 974
        assert knee.state("file1000082") is FileState.UNLABELLED  # of the test split
        assert set(sum(knee.study_level.values(), ())) == {"artifact"}


class TestRealBrain:
    def test_counts(self, shared_data):
        folder: Path = shared_data("fastmri_plus")
        brain = read_tables(folder / "brain.csv", folder / "brain_file_list.csv", shape=None)
        assert (brain.n_boxes, brain.n_study_level) == (7_570, 643)
        assert (len(brain.files), len(brain.reviewed), len(brain.labels)) == (997, 1_001, 30)
        assert (len(brain.clipped), len(brain.dropped), len(brain.strays)) == (0, 3, 0)
