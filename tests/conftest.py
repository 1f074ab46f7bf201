"""Skips for missing software become failures where `BENCHKIT_REQUIRE_ALL` is set, as `.ci/run` does.

A test that needs something a newcomer may lack skips with a reason that begins with "needs",
for example `pytest.skip("needs cmake")`; `make test` then shows the reason and passes.
"""

import os
import signal

import pytest

# A shell's background job ignores Ctrl-C, and so would every process that the tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    reason = report.longrepr[2] if report.skipped and isinstance(report.longrepr, tuple) else ""
    missing = reason.removeprefix("Skipped: ").startswith(("needs", "could not import"))
    if missing and os.environ.get("BENCHKIT_REQUIRE_ALL"):
        report.outcome, report.longrepr = "failed", f"BENCHKIT_REQUIRE_ALL is set, but this test {reason}"
    return report
