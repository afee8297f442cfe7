import json

from made_up_benchmark import made_up

from iseg_cli.benchmark import plot, report


def test_the_plot_is_a_png(tmp_path):
    lines = report.write(report.BenchmarkReport(made_up()), tmp_path)
    assert (tmp_path / "benchmark.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((tmp_path / "benchmark.json").read_text())["masks"]["speedup"] == 2.0
    assert len(lines) == 2


def test_without_matplotlib_a_sentence_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(plot, "can_plot", lambda: False)
    lines = report.write(report.BenchmarkReport(made_up()), tmp_path)
    assert lines[-1] == plot.MISSING
    assert not (tmp_path / "benchmark.png").exists()
    assert (tmp_path / "benchmark.json").exists()
