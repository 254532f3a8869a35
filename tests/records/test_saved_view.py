"""The saved view of MLflow's pages: what it shows exists under these names in the runs."""

import json
import re

from pipeline.records import saved_view


def test_the_view_shows_curves_above_histograms() -> None:
    named = json.loads(saved_view.variants("both", ["layer1_activation", "layer2_activation"], last_step=5))
    state = json.loads(named["state"])
    assert named["name"] == "Variants compared"
    assert state["searchFilter"] == "tags.current = 'true' AND tags.stage != 'download'"
    *lines, both, images = state["compareRunCharts"]
    assert [line["metricKey"] for line in lines] == ["train/loss", "validation/loss", "validation/accuracy"]
    assert {line["metricSectionId"] for line in lines} == {"curves"}
    assert (images["imageKeys"], images["step"]) == (["layer1_activation", "layer2_activation"], 5)
    assert (both["imageKeys"], both["step"]) == (["both"], 5)
    sections = [card["metricSectionId"] for card in (lines[0], both, images)]
    assert [section["uuid"] for section in state["compareRunSections"]] == sections
    assert len({card["uuid"] for card in state["compareRunCharts"]}) == 5


def test_the_links_of_the_description_choose_the_pages_of_model_training() -> None:
    links = re.findall(r"\((#[^)]*)\)", saved_view.description("7"))
    assert len(links) == 2
    for link in links:
        assert link.startswith("#/experiments/7/runs?viewStateShareKey=variants&")
        assert link.endswith("workflowType=machine_learning")
