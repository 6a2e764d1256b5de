"""Rules and panels: promtool reads them, and every series and label in them is one that the server exposes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.deployment import busy_server
from tests.deployment.tools import DEPLOY, program, succeed

MONITORING = DEPLOY / "monitoring"
DASHBOARD = json.loads((MONITORING / "grafana/parlando.json").read_text())
_NAMES = re.compile(r"\b(?:tts|process)_\w+")
_MATCHED = re.compile(r"\b((?:tts|process)_\w+)\{([^}]*)\}")
_GROUPED = re.compile(r"by \(([^)]*)\)\s*\((?:rate\()?((?:tts|process)_\w+)")
_FROM_SCRAPE = {"instance", "job"}


@pytest.fixture(scope="module")
def exposed() -> dict[str, list[dict[str, str]]]:
    """Labels of every series."""
    series: dict[str, list[dict[str, str]]] = {}
    for family in text_string_to_metric_families(busy_server.metrics().exposition().decode()):
        for sample in family.samples:
            series.setdefault(sample.name, []).append(sample.labels)
    return series


def panel_expressions() -> list[tuple[str, str]]:
    return [(panel["title"], target["expr"]) for panel in DASHBOARD["panels"] for target in panel["targets"]]


def expressions() -> list[str]:
    """Of panels, of rules and of the autoscaler."""
    yaml = pytest.importorskip("yaml", reason="tests/deployment/requirements.txt is not installed")
    rules = yaml.safe_load((MONITORING / "rules.yml").read_text())
    scaled = yaml.safe_load((DEPLOY / "kubernetes/overlays/keda/scaledobject.yaml").read_text())
    return [
        *(expression for _, expression in panel_expressions()),
        *(rule["expr"] for group in rules["groups"] for rule in group["rules"]),
        *(trigger["metadata"]["query"] for trigger in scaled["spec"]["triggers"]),
    ]


def test_expressions_name_series_that_the_server_exposes(exposed: dict[str, list[dict[str, str]]]) -> None:
    for expression in expressions():
        assert wrongs(expression, exposed) == [], expression


@pytest.mark.parametrize(
    ("expression", "wrong"),
    [
        ("sum(tts_streams_alive)", "tts_streams_alive"),
        ('tts_refusals_total{code="too_busy"}', "code"),
        ("sum by (kind) (rate(tts_refusals_total[5m]))", "kind"),
        ('tts_time_to_first_audio_seconds_bucket{le="0.26"}', "le"),
    ],
)
def test_wrong_series_and_labels_are_seen(
    expression: str, wrong: str, exposed: dict[str, list[dict[str, str]]]
) -> None:
    assert wrongs(expression, exposed) == [wrong]


def wrongs(expression: str, exposed: dict[str, list[dict[str, str]]]) -> list[str]:
    unknown = [name for name in _NAMES.findall(expression) if name not in exposed]
    for name, matchers in _MATCHED.findall(expression):
        for label, value in re.findall(r'(\w+)="([^"]*)"', matchers):
            if label not in _FROM_SCRAPE and all(labels.get(label) != value for labels in exposed.get(name, [])):
                unknown.append(label)
    for grouped, name in _GROUPED.findall(expression):
        for label in re.findall(r"\w+", grouped):
            if label not in _FROM_SCRAPE and all(label not in labels for labels in exposed.get(name, [])):
                unknown.append(label)
    return unknown


def test_every_exposed_family_of_ours_is_on_the_dashboard(exposed: dict[str, Any]) -> None:
    shown = {
        re.sub(r"_bucket$", "", name) for _, expression in panel_expressions() for name in _NAMES.findall(expression)
    }
    exempt = {"tts_engine_events_total", "tts_spec_tolerance", "tts_spec_tolerated_tokens_total"}
    families = {re.sub(r"_(bucket|count|sum)$", "", name) for name in exposed if name.startswith("tts_")}
    families = {name for name in families if not name.endswith("_created") and "_process_" not in name}
    assert families - shown == exempt


def test_promtool_reads_every_panel(tmp_path: Path) -> None:
    promtool = program("promtool", "prometheus")
    lines = ["groups:", "  - name: panels", "    rules:"]
    for number, (_, expression) in enumerate(panel_expressions()):
        promql = json.dumps(expression.replace("$__rate_interval", "1m"))
        lines += [f"      - record: panel:{number}", f"        expr: {promql}"]
    rules = tmp_path / "panels.yml"
    rules.write_text("\n".join(lines) + "\n")
    assert f"{len(panel_expressions())} rules found" in succeed(promtool, "check", "rules", rules)


def test_alerts_fire_and_stay_silent() -> None:
    promtool = program("promtool", "prometheus")
    succeed(promtool, "check", "config", MONITORING / "prometheus.yml")
    succeed(promtool, "test", "rules", MONITORING / "rules_test.yml")


def test_every_alert_has_a_test() -> None:
    alerts = set(re.findall(r"- alert: (\w+)", (MONITORING / "rules.yml").read_text()))
    fired = set(re.findall(r"alertname: (\w+)\n\s+exp_alerts:\n", (MONITORING / "rules_test.yml").read_text()))
    assert alerts == fired


def test_panels_are_distinct_and_do_not_overlap() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len({(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}) == len(panels)
