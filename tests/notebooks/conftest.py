"""Prints what each notebook took, after the run."""


def pytest_terminal_summary(terminalreporter):
    rows = []
    for outcome in ("passed", "failed"):
        for report in terminalreporter.stats.get(outcome, []):
            properties = dict(report.user_properties)
            if report.when == "call" and "notebook" in properties:
                rows.append((properties["notebook"], properties["seconds"], properties["peak_mb"]))
    if not rows:
        return
    terminalreporter.section("notebooks: wall time and peak memory of the kernel")
    for notebook, seconds, peak_mb in sorted(rows):
        terminalreporter.write_line(f"{notebook:<60} {seconds:>7.1f} s {peak_mb:>6.0f} MB")
