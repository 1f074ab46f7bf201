"""The command line: each command calls one public function that a notebook can call too.

No logic lives here, only words and exit codes. Heavy imports happen inside the commands,
so that `benchkit --help` is instant.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from benchkit.errors import BenchkitError, ModelError, did_you_mean
from benchkit.text import visible

EXIT_CODES = """\
exit codes:
  0    done; a completed run exits 0 whatever its verdict or the quality of its replies
  1    a mistake in benchkit itself; the traceback is shown, please report it
  2    the command line was wrong
  3    something given cannot be used: a plan, a prompt file, a run folder, a parameter
  4    a model could not be found, loaded or asked, or its one reply failed
  5    the system refused: disk full, no permission
  130  interrupted with Ctrl-C; what was measured is safe
  141  the program that read the output closed it early
"""

EXAMPLES = """\
examples:
  benchkit ask gguf:pocket-s "Why is the sky blue?"
  benchkit run --models gguf:pocket-xs,gguf:pocket-m --prompts course --out benchmark_outputs/mine
  benchkit compare benchmark_outputs/mine
  benchkit report benchmark_outputs/mine
"""


class Parser(argparse.ArgumentParser):
    """argparse, with "did you mean" for a command or option that does not exist."""

    def __init__(self, **settings: Any) -> None:
        settings.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(allow_abbrev=False, **settings)

    def options(self) -> list[str]:
        return [option for action in self._actions for option in action.option_strings]

    def error(self, message: str) -> NoReturn:
        raise BadCommand(f"{message}\nSee: {self.prog} --help")


class BadCommand(BenchkitError):
    """The command line cannot be understood."""

    exit_code = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    _replace_closed_streams()
    _speak_utf8()
    try:
        code = _obey(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()
        return code
    except BenchkitError as error:
        return _fail(str(error), error.exit_code)
    except BrokenPipeError:
        _forget_stdout()
        return 141
    except KeyboardInterrupt:
        return _fail("interrupted. What was measured is safe; the same command again continues.", 130)
    except OSError as error:
        return _fail(_system_text(error), 5)


def _obey(argv: Sequence[str]) -> int:
    try:
        arguments = parse(argv)
    except SystemExit as done:  # argparse ends so after --help and --version
        return int(done.code or 0)
    return arguments.command(arguments)


def _fail(message: str, code: int) -> int:
    try:
        print(f"benchkit: {visible(message)}", file=sys.stderr, flush=True)
    except (OSError, ValueError):  # nobody reads, the disk is full, or the stream is closed
        pass
    return code


def _system_text(error: OSError) -> str:
    import errno

    where = f" ({error.filename})" if error.filename else ""
    if error.errno == errno.ENOSPC:
        return f"the disk is full{where}. What was measured is safe: free space, and run it again."
    return f"the system refused: {error.strerror or error}{where}. What was measured is safe."


def _replace_closed_streams() -> None:
    """A stream that was closed (`>&-`) is None: printing to it would fail, or end up in another stream."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))


def _speak_utf8() -> None:
    """UTF-8 on every console and pipe: Windows would otherwise stop at the first unusual character."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="replace")


def _forget_stdout() -> None:
    """Nobody reads any more: let Python's own last flush go nowhere, without a complaint."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


# ---- what can be asked -----------------------------------------------------------------------------


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The command line as values, or one clear refusal."""
    parser, commands = make_parser()
    word = next((text for text in argv if not text.startswith("-")), None)
    if word is not None and argv[0] == word and word not in commands:
        listing = ", ".join(commands)
        raise BadCommand(
            f"there is no command '{word}'{did_you_mean(word, commands)}.\nCommands: {listing}."
        )
    arguments, unknown = parser.parse_known_args(argv)
    if "command" not in arguments:
        raise BadCommand("which command? " + ", ".join(commands) + ".\nSee: benchkit --help")
    if unknown:
        chosen = commands[str(word)]
        hint = did_you_mean(unknown[0].partition("=")[0], chosen.options())
        raise BadCommand(f"{chosen.prog} does not know '{unknown[0]}'{hint}.\nSee: {chosen.prog} --help")
    return arguments


def make_parser() -> tuple[Parser, dict[str, Parser]]:
    """The parser, and the parser of each command by name."""
    parser = Parser(
        prog="benchkit",
        description="Benchmark language models on your own machine, and know how far to trust the number.",
        epilog=EXAMPLES + "\n" + EXIT_CODES,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the versions and exit")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND")
    add = _adder(subparsers)
    for define in (
        _define_ask,
        _define_run,
        _define_watch,
        _define_compare,
        _define_pool,
        _define_report,
        _define_export,
        _define_explore,
        _define_load,
        _define_perplexity,
        _define_servers,
        _define_quantize,
        _define_fit,
        _define_notebook,
        _define_exercises,
        _define_grade,
    ):
        define(add)
    _define_small(add)
    return parser, dict(subparsers.choices)


def _adder(subparsers: Any) -> Callable[..., Parser]:
    def add(name: str, command: Callable[[argparse.Namespace], int], help: str, **more: Any) -> Parser:
        description = f"{help[0].upper()}{help[1:]}."
        parser = subparsers.add_parser(name, help=help, description=description, **more)
        parser.set_defaults(command=command)
        return parser

    return add


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from importlib.metadata import PackageNotFoundError, version

        for name in ("benchkit", "llama-cpp-python"):
            try:
                print(name, version(name))
            except PackageNotFoundError:
                print(name, "(not installed)")
        parser.exit()


def _define_ask(add: Callable[..., Parser]) -> None:
    ask = add("ask", _ask, "ask a model one question; show its reply, and how fast it came")
    ask.add_argument(
        "model", help="gguf:pocket-s, gguf:/path/to/model.gguf, ollama:MODEL, openai:MODEL; see `benchkit models`"
    )
    ask.add_argument("prompt", help="the question; - reads it from standard input")
    ask.add_argument(
        "--max-tokens", type=int, default=256, metavar="N", help="stop after N tokens (default 256)"
    )
    ask.add_argument("--host", metavar="URL", help="the server of an ollama: or openai: model")
    ask.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: the physical cores)")
    ask.add_argument(
        "--gpu-layers", type=int, default=0, metavar="N", help="layers on a GPU, -1 for all (default 0)"
    )
    ask.add_argument(
        "--context", type=int, metavar="N", help="tokens the model can hold (default: the backend's)"
    )
    ask.add_argument(
        "--ignore-eos", action="store_true", help="go on past the model's own end: exactly N tokens"
    )
    _sampling(ask)
    _json(ask)


def _sampling(parser: Parser, **missing: Any) -> None:
    parser.add_argument(
        "--temperature", type=float, **{"default": 0.0, **missing}, metavar="T",
        help="0 takes the likeliest token (default)",
    )  # fmt: skip
    parser.add_argument(
        "--seed", type=int, **{"default": 1234, **missing}, metavar="N",
        help="for temperatures above 0 (default 1234)",
    )  # fmt: skip


def _json(parser: Parser) -> None:
    parser.add_argument(
        "--json", action="store_true", help="one JSON object on standard output, the rest on standard error"
    )


def _define_run(add: Callable[..., Parser]) -> None:
    run = add("run", _run, "measure a plan; the same command again continues a run that was interrupted")
    run.add_argument("plans", nargs="*", metavar="PLAN", help="plan files (YAML or JSON)")
    run.add_argument("--models", metavar="A,B", help="instead of a plan: the models")
    missing = {"default": argparse.SUPPRESS}  # see RUN_DEFAULTS: what was not given can be told from what was
    run.add_argument("--host", **missing, metavar="URL", help="the server of ollama: and openai: models")
    run.add_argument(
        "--prompts", **missing, metavar="SET|FILE", help="prompt sets, or a file (default: course)"
    )
    run.add_argument(
        "--trials", type=_trials, **missing, metavar="N", help="repeats of each prompt, or auto (default 3)"
    )
    run.add_argument(
        "--max-tokens", type=int, **missing, metavar="N", help="stop a reply after N tokens (default 128)"
    )
    _sampling(run, **missing)
    run.add_argument(
        "--speed", action="store_true", **missing,
        help="add forced-length requests: only those compare decode speed",
    )  # fmt: skip
    run.add_argument(
        "--perplexity", action="store_true", **missing, help="also score models in files on the shipped text"
    )
    run.add_argument(
        "--run-code", action="store_true", **missing, help="run generated code in the sandbox to check it"
    )
    run.add_argument(
        "--out", type=Path, metavar="DIR", help="the run's folder (default: in benchmark_outputs)"
    )
    run.add_argument("--quiet", action="store_true", help="plain lines instead of the live view (as NO_COLOR=1 does)")
    _json(run)


def _define_watch(add: Callable[..., Parser]) -> None:
    watch = add("watch", _watch, "watch a run while it is measured, or look at one that has ended")
    watch.add_argument("run", type=Path, metavar="RUN", help="the folder of a run or a load run")
    watch.add_argument("--terminal", action="store_true", help="show it in this terminal, not as a web page")
    watch.add_argument("--no-browser", action="store_true", help="only print the page's address")
    watch.add_argument("--port", type=int, metavar="N", help="of the page (default: a free one)")
    watch.add_argument("--replay", type=_factor, metavar="X", help="play a finished run again, X times as fast as it was")


def _factor(text: str) -> float:
    try:
        factor = float(text)
    except ValueError:
        factor = 0.0
    if not 0.0 < factor < 1e6:
        raise argparse.ArgumentTypeError(f"a number above 0 is needed, not '{text[:40]}'")
    return factor


#: What a run of --models has where nothing is said.
RUN_DEFAULTS = {"prompts": "course", "trials": 3, "max_tokens": 128, "temperature": 0.0, "seed": 1234,
                "speed": False, "run_code": False, "perplexity": False, "host": None}  # fmt: skip


def _trials(text: str) -> int | str:
    try:
        return text if text == "auto" else int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"a whole number or auto is needed, not '{text[:40]}'") from None


def _define_compare(add: Callable[..., Parser]) -> None:
    compare = add("compare", _compare, "set the models of one or more runs side by side, with intervals; load runs too")
    compare.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run folders, load runs among them")
    compare.add_argument("--pair", nargs=2, metavar=("A", "B"), help="only these two configurations")
    _json(compare)


def _define_pool(add: Callable[..., Parser]) -> None:
    pool = add("pool", _pool, "A or B? Each machine's own answer, and the median over all machines")
    pool.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run folders, one a machine")
    pool.add_argument("--pair", nargs=2, metavar=("A", "B"), help="which two configurations, if there are more")
    pool.add_argument("--csv", type=Path, metavar="FILE", help="write the table here as well")
    _json(pool)


def _define_report(add: Callable[..., Parser]) -> None:
    report = add("report", _report, "write report.html, one file that can be sent to anyone")
    report.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run folders, or load run folders")
    report.add_argument(
        "--out", type=Path, metavar="FILE", help="where to (default: report.html in the run's folder)"
    )


def _define_export(add: Callable[..., Parser]) -> None:
    export = add("export", _export, "write one row a request, for a spreadsheet or another program")
    export.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run folders")
    for kind, what in (("csv", "text"), ("excel", ".xlsx"), ("parquet", "typed columns")):
        export.add_argument(f"--{kind}", type=Path, metavar="FILE", help=f"write FILE ({what})")


def _define_explore(add: Callable[..., Parser]) -> None:
    explore = add("explore", _explore, "look around in the results of runs, in the browser of this computer")
    explore.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run folders, finished or still growing")
    explore.add_argument("--port", type=int, metavar="N", help="default 8900, or any free one; 0 takes any free one")
    explore.add_argument("--no-browser", action="store_true", help="only print the address")


def _define_load(add: Callable[..., Parser]) -> None:
    load = add("load", _load, "ask a server many things at once: rates, waiting, errors, and whether to trust them")
    load.add_argument("model", help="openai:MODEL with --host, or ollama:MODEL")
    load.add_argument("--host", metavar="URL", help="the server's address; for OpenAI-compatible ones with /v1")
    load.add_argument(
        "--profile", default="concurrent", metavar="NAME",
        help="synchronous, concurrent (default), throughput, constant, poisson or sweep",
    )  # fmt: skip
    load.add_argument("--concurrency", type=int, metavar="N", help="concurrent: N at a time (default 32)")
    load.add_argument("--requests", type=int, metavar="N", help="how many are sent (default 128)")
    load.add_argument("--rate", type=float, metavar="R", help="constant, poisson: R requests a second")
    load.add_argument("--duration", type=float, metavar="S", help="send for S seconds, instead of or besides --requests")
    load.add_argument("--prompts", default="course", metavar="SET|FILE", help="a prompt set, a .txt or a .jsonl file")
    load.add_argument("--max-tokens", type=int, default=128, metavar="N", help="stop a reply after N tokens (default 128)")
    load.add_argument("--ignore-eos", action="store_true", help="exactly N tokens, where the server can do that")
    load.add_argument("--timeout", type=float, default=120.0, metavar="S", help="cut a reply off after S seconds")
    load.add_argument("--seed", type=int, default=1234, metavar="N", help="of the schedule (default 1234)")
    load.add_argument(
        "--slo", action="append", default=[], metavar="NAME=LIMIT",
        help="for goodput: ttft_ms=200, tpot_ms=50, response_time_s=2 …",
    )  # fmt: skip
    load.add_argument("--out", type=Path, metavar="DIR", help="the run's folder (default: in benchmark_outputs)")
    _json(load)


def _define_perplexity(add: Callable[..., Parser]) -> None:
    ppl = add("perplexity", _perplexity, "how well a GGUF model predicts a text, exactly as llama-perplexity does it")
    ppl.add_argument("model", help="gguf:pocket-s, gguf:pocket-s:Q4_K_M, gguf:/path/to/model.gguf")
    ppl.add_argument("--text", type=Path, metavar="FILE", help="UTF-8 text (default: the shipped held-out prose)")
    ppl.add_argument("--window", type=int, default=512, metavar="N", help="tokens of a window (default 512)")
    ppl.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: the physical cores)")
    ppl.add_argument(
        "--against", metavar="REFERENCE",
        help="a model of the same vocabulary, usually the F16 one: KLD and share of the same top token",
    )  # fmt: skip
    _json(ppl)


def _define_servers(add: Callable[..., Parser]) -> None:
    serve = add("serve", _serve, "serve models to programs on this computer, as Ollama and OpenAI would")
    serve.add_argument("models", nargs="*", default=["gguf:pocket-s"], metavar="MODEL", help="default: gguf:pocket-s")
    serve.add_argument("--port", type=int, metavar="N", help="default 11434, Ollama's own; with --truth 11435")
    serve.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: the physical cores)")
    serve.add_argument("--truth", action="store_true", help="no model: a server whose timing is known, to weigh with")
    serve.add_argument(
        "--script", action="append", default=[], metavar="KEY=VALUE",
        help="with --truth: how replies go, for instance ttft_ms=20",
    )  # fmt: skip
    give = add("to-ollama", _to_ollama, "give the shipped models to your own Ollama")
    give.add_argument("models", nargs="*", metavar="MODEL", help="default: all shipped models")
    give.add_argument("--host", metavar="URL", help="where Ollama is (default: OLLAMA_HOST, else this computer)")
    weigh = add("weigh", _weigh, "weigh the instrument itself: how far its numbers are from the truth")
    weigh.add_argument("--streams", type=_whole_numbers, metavar="1,32", help="default: 1,32,128,512")
    weigh.add_argument("--ttft", type=float, metavar="MS", help="time to first token (default 200)")
    weigh.add_argument("--gap", type=float, metavar="MS", help="time between tokens (default 20)")
    weigh.add_argument("--tokens", type=int, metavar="N", help="tokens in a reply (default 32)")
    weigh.add_argument("--quick", action="store_true", help="under 20 s: 1, 32, 128 streams, short replies")
    _json(weigh)


def _whole_numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


def _define_quantize(add: Callable[..., Parser]) -> None:
    quantize = add("quantize", _quantize, "make smaller variants of a GGUF model, with llama.cpp's own quantiser")
    quantize.add_argument("model", help="gguf:pocket-s or gguf:/path/to/model.gguf, in F16, BF16 or F32")
    quantize.add_argument("types", nargs="+", metavar="TYPE", help="Q8_0, Q6_K, Q4_K_M, Q3_K_L, Q2_K …")
    quantize.add_argument("--out", type=Path, default=Path("."), metavar="DIR", help="where to (default: this folder)")
    quantize.add_argument("--overwrite", action="store_true", help="replace files that are there already")


def _define_fit(add: Callable[..., Parser]) -> None:
    fit = add("fit", _fit, "will a model run here, and how fast? Answered before any download")
    fit.add_argument(
        "model", nargs="?",
        help="gguf:NAME or gguf:PATH, llama-3.2-1b, llama-3.2-3b, llama-3.1-8b, a size such as 8B, or a plan",
    )  # fmt: skip
    fit.add_argument("--type", nargs="+", default=[], metavar="T", dest="types", help="Q8_0, Q6_K, Q4_K_M, Q3_K_L, Q2_K …")
    fit.add_argument("--context", type=int, metavar="N", help="tokens the model is to hold (default: up to 2,048)")
    fit.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: the physical cores)")
    fit.add_argument("--calibrate", action="store_true", help="measure this machine's speed first (about two minutes)")
    _json(fit)


def _define_notebook(add: Callable[..., Parser]) -> None:
    notebook = add("notebook", _notebook, "run a lesson from top to bottom without a browser")
    notebook.add_argument("name", metavar="NAME", help="02_run_benchmark, 02, or a path to a notebook")
    notebook.add_argument(
        "-p", "--parameter", action="append", default=[], metavar="KEY=VALUE", dest="parameters",
        help="set a parameter; a name the notebook does not have is refused",
    )  # fmt: skip
    notebook.add_argument(
        "--out", type=Path, metavar="FILE", help="the executed copy (default: in benchmark_outputs)"
    )


def _define_exercises(add: Callable[..., Parser]) -> None:
    exercises = add("exercises", _exercises, "list the exercises, or write them for an nbgrader site")
    exercises.add_argument(
        "--nbgrader", type=Path, metavar="DIR", help="write DIR/source and DIR/nbgrader_config.py, solutions included"
    )


def _define_grade(add: Callable[..., Parser]) -> None:
    grade = add("grade", _grade, "grade students' notebooks; the same command again continues")
    grade.add_argument("submissions", type=Path, metavar="DIR", help="NAME.ipynb or NAME/ex02_speed.ipynb in it, or nbgrader's")
    grade.add_argument("--exercise", metavar="NAME", help="only this one: ex02_speed, ex02, or a source file of your own")
    grade.add_argument("--out", type=Path, default=Path("grades"), metavar="DIR", help="results (default: grades)")
    grade.add_argument("--csv", type=Path, metavar="FILE", help="the table (default: grades.csv among the results)")
    grade.add_argument("--html", type=Path, metavar="FILE", help="the page (default: grades.html among the results)")
    grade.add_argument("--hidden", type=Path, metavar="DIR", help="your own hidden checks: exNN_topic.py with check cells")
    grade.add_argument("--limit-s", type=float, default=5.0, metavar="S", help="for a cell, and for a check (default 5)")
    grade.add_argument("--memory-mib", type=int, default=1024, metavar="N", help="for an answer (default 1024)")
    grade.add_argument("--jobs", type=int, metavar="N", help="notebooks at a time (default: one a processor)")


def _define_small(add: Callable[..., Parser]) -> None:
    models = add("models", _models, "list the models that can be had: shipped, GGUF files, and those of servers")
    models.add_argument("--host", metavar="URL", help="a server (default: Ollama's and LM Studio's usual places)")
    doctor = add("doctor", _doctor, "check this machine: what would disturb a measurement, and what to do")
    demo = add("demo", _demo, "run lessons 02, 03 and 05 on the shipped models (under 2 minutes)")
    demo.add_argument("--out", type=Path, metavar="DIR", help="default: benchmark_outputs/demo")
    make = add("prompts", _prompts, "make a prompt file from a data set: a file's, or one of Hugging Face's")
    make.add_argument("how", choices=["from-file", "from-hf"], help=".csv, .jsonl, .parquet; or by its name")
    make.add_argument("source", metavar="DATA", help="the file, or a name such as openai/gsm8k")
    make.add_argument("target", type=Path, metavar="FILE", help="the prompt file to write (.jsonl)")
    make.add_argument("--prompt", default="prompt", metavar="COLUMN", help="where the prompts are")
    make.add_argument("--expected", metavar="COLUMN", help="where the right answers are, if there are any")
    make.add_argument("--limit", type=int, metavar="N", help="only the first N rows")
    make.add_argument("--overwrite", action="store_true", help="replace FILE if it exists")
    make.add_argument("--subset", metavar="NAME", help="from-hf: which part, where a data set has several")
    make.add_argument("--split", metavar="NAME", help="from-hf: train, test … (default test)")
    for parser in (models, doctor):
        _json(parser)


# ---- the commands ----------------------------------------------------------------------------------


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _print_json(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False))


def _ask(arguments: argparse.Namespace) -> int:
    from benchkit.ask import ask, one_line

    def show(text: str) -> None:
        print(visible(text), end="", flush=True)

    names = ("max_tokens", "temperature", "seed", "ignore_eos")
    options = {name: getattr(arguments, name) for name in names}
    _check_options(options)
    _say(f"loading {arguments.model} and warming it up, unrecorded …")
    answer = ask(
        arguments.model, _read_stdin() if arguments.prompt == "-" else arguments.prompt,
        host=arguments.host, n_ctx=arguments.context, n_threads=arguments.threads, n_gpu_layers=arguments.gpu_layers,
        on_text=None if arguments.json else show, **options,
    )  # fmt: skip
    _print_json(answer) if arguments.json else print(f"\n{visible(one_line(answer))}")
    return 0 if answer["error"] is None else ModelError.exit_code


def _check_options(options: dict[str, Any]) -> None:
    from benchkit.backends import Options

    try:
        Options(**options)
    except ModelError as error:  # no model is to blame yet
        raise BenchkitError(str(error)) from None


def _read_stdin() -> str:
    try:
        return sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BenchkitError(f"standard input is not UTF-8 text: byte {error.start} cannot be read.") from None


def _run(arguments: argparse.Namespace) -> int:
    from benchkit.bench import run, run_many

    if bool(arguments.plans) == bool(arguments.models):
        raise BadCommand(
            "what is to be run? Give plan files, or --models with --prompts.\nSee: benchkit run --help"
        )
    if arguments.plans:
        _refuse_ignored(arguments)
    if len(arguments.plans) > 1:
        done = run_many(arguments.plans, arguments.out, view=not arguments.quiet)
        return _show_runs([one.folder for one in done], arguments.json)
    plan = arguments.plans[0] if arguments.plans else _plan(arguments)
    done = run(plan, arguments.out, view=not arguments.quiet, command=_same_command(arguments))
    return _show_runs([done.folder], arguments.json)


def _same_command(arguments: argparse.Namespace) -> list[str]:
    """The words that measure the same again, without the folder."""
    words = ["benchkit", "run", *arguments.plans]
    words += ["--models", arguments.models] if arguments.models else []
    for name in RUN_DEFAULTS:
        value = getattr(arguments, name, None)
        if value is not None:
            words += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
    return words


def _watch(arguments: argparse.Namespace) -> int:
    from benchkit.runs import open_run

    open_run(arguments.run)  # a folder that is no run's is refused here
    if arguments.terminal:
        from benchkit import terminal

        terminal.watch(arguments.run, arguments.replay)
        return 0
    from benchkit.webpage import serve

    serve(arguments.run, arguments.port, not arguments.no_browser, arguments.replay,
          ready=lambda address: _say(f"The dashboard is at {address}\nCtrl-C ends it; the run goes on."))  # fmt: skip
    return 0


def _plan(arguments: argparse.Namespace) -> Any:
    from benchkit.plan import make_plan

    return make_plan(arguments.models, **{k: getattr(arguments, k, v) for k, v in RUN_DEFAULTS.items()})


def _refuse_ignored(arguments: argparse.Namespace) -> None:
    """A plan file says all of this itself; an option beside it would change nothing."""
    for name in RUN_DEFAULTS:
        if hasattr(arguments, name):
            value = getattr(arguments, name)
            line = f"{name}: {json.dumps(value) if isinstance(value, bool) else value}"
            line = f"sampling: {{{line}}}" if name in ("max_tokens", "temperature", "seed") else line
            line = f"models: [{{model: …, {line}}}]" if name == "host" else line
            raise BadCommand(f"--{name.replace('_', '-')} belongs to --models; in a plan write {line}")


def _show_runs(folders: list[Path], as_json: bool) -> int:
    """What was measured, and what can be done next."""
    _show_comparison(folders, as_json, with_pairs=False)
    if not as_json:
        names = " ".join(f'"{folder}"' if " " in str(folder) else str(folder) for folder in folders)
        print(f"\nMeasured in {names}\nNext: benchkit report {names}")
    return 0


def _show_comparison(
    folders: list[Path], as_json: bool, pair: Sequence[str] | None = None, with_pairs: bool = True
) -> None:
    from benchkit import compare

    found = compare.side_by_side(folders, pair)
    if as_json:
        _print_json(compare.as_json(found))
    else:
        print(compare.as_text(found, with_pairs))


def _compare(arguments: argparse.Namespace) -> int:
    _show_comparison(arguments.runs, arguments.json, arguments.pair)
    return 0


def _pool(arguments: argparse.Namespace) -> int:
    from dataclasses import asdict

    from benchkit.export import export
    from benchkit.pool import as_text, pool, together

    table = pool(arguments.runs, *(arguments.pair or ()))
    if arguments.csv:
        export(table, arguments.csv)
    if arguments.json:
        rows = json.loads(table.to_json(orient="records"))
        _print_json({"runs": rows, "together": asdict(together(table))})
    else:
        print(as_text(table))
    return 0


def _report(arguments: argparse.Namespace) -> int:
    from benchkit.report import write_report

    print(write_report(arguments.runs, arguments.out))
    return 0


def _export(arguments: argparse.Namespace) -> int:
    from benchkit.export import export
    from benchkit.tables import results

    endings = {"csv": ".csv", "excel": ".xlsx", "parquet": ".parquet"}
    wanted = {kind: getattr(arguments, kind) for kind in endings if getattr(arguments, kind)}
    if not wanted:
        raise BadCommand("to which file? Give --csv FILE, --excel FILE or --parquet FILE.")
    for kind, path in wanted.items():
        if path.suffix.lower() != endings[kind]:
            raise BadCommand(f"--{kind} {path}: name a file that ends in {endings[kind]}.")
    rows = results(arguments.runs)
    for path in wanted.values():
        print(export(rows, path))
    return 0


def _explore(arguments: argparse.Namespace) -> int:
    from benchkit.explore_server import serve

    serve(arguments.runs, arguments.port, not arguments.no_browser)
    return 0


def _notebook(arguments: argparse.Namespace) -> int:
    from benchkit.notebooks import execute, parse_parameters

    print(execute(arguments.name, parse_parameters(arguments.name, arguments.parameters), arguments.out))
    return 0


def _exercises(arguments: argparse.Namespace) -> int:
    from benchkit import course

    if arguments.nbgrader:
        print(*course.nbgrader_tree(arguments.nbgrader), sep="\n")
        return 0
    for source in course.sources():
        one = course.read_exercise(source)
        print(f"{one.name:<22} {one.minutes:3d} minutes  {one.points:3g} points   {one.title}")
    return 0


def _grade(arguments: argparse.Namespace) -> int:
    from benchkit import confine, pages
    from benchkit import grade as grading
    from benchkit.export import export
    from benchkit.grade_page import write_page

    names = ("exercise", "hidden", "limit_s", "memory_mib", "jobs")
    csv, html = arguments.csv or arguments.out / "grades.csv", arguments.html or arguments.out / "grades.html"
    if csv.suffix.lower() != ".csv":
        raise BadCommand(f"--csv {csv}: name a file that ends in .csv.")
    pages.place(html)
    for harm in confine.missing():
        _say(f"On this system an answer could {harm}. Grade on Linux (kernel 5.13 or newer) where you trust nobody.")
    settings = {name: getattr(arguments, name) for name in names}
    rows = grading.grade(arguments.submissions, arguments.out, **settings)
    print(visible(grading.as_text(rows)))
    print(f"\n{export(grading.table(rows), csv)}\n{write_page(rows, settings, html)}")
    return 0


def _prompts(arguments: argparse.Namespace) -> int:
    from benchkit.convert import convert_prompts, prompts_from_hf
    from benchkit.text import counted

    names = ("prompt", "expected", "limit", "overwrite")
    settings = {name: getattr(arguments, name) for name in names}
    for name in ("subset", "split"):
        value = getattr(arguments, name)
        if value is not None and arguments.how == "from-file":
            raise BadCommand(f"--{name} belongs to from-hf; a file has one part only.")
        settings |= {name: value} if value is not None else {}
    make = convert_prompts if arguments.how == "from-file" else prompts_from_hf
    made = make(arguments.source, arguments.target, **settings)
    print(f"{counted(len(made), 'prompt')} in {arguments.target}")
    return 0


def _models(arguments: argparse.Namespace) -> int:
    from benchkit.backends import find_models

    found = find_models(arguments.host)
    if arguments.json:
        _print_json({"models": found})
    for model in [] if arguments.json else found:
        size = "" if model["size_mib"] is None else f"{model['size_mib']:,.1f} MiB"
        print(visible(f"{model['name']:<28} {size:>13}   {model['where']}"))
    return 0


def _doctor(arguments: argparse.Namespace) -> int:
    from benchkit.machine import doctor

    findings = doctor()
    if arguments.json:
        _print_json({"findings": [finding.to_dict() for finding in findings]})
    else:
        print(*map(visible, findings), sep="\n")
    return 0


def _demo(arguments: argparse.Namespace) -> int:
    from benchkit.demo import demo

    demo(arguments.out)
    return 0


def _load(arguments: argparse.Namespace) -> int:
    from benchkit import traffic
    from benchkit.load import load

    names = ("profile", "concurrency", "requests", "rate", "prompts", "max_tokens", "ignore_eos", "seed", "out")
    found = load(
        arguments.model, arguments.host, duration_s=arguments.duration, timeout_s=arguments.timeout,
        slo=_limits(arguments.slo), **{name: getattr(arguments, name) for name in names},
    )  # fmt: skip
    _print_json(found) if arguments.json else print(traffic.as_text(found))
    return 0


def _limits(words: list[str]) -> dict[str, Any] | None:
    """`ttft_ms=200` as a limit; what is no number is refused where limits are checked."""
    pairs = [word.partition("=") for word in words]
    try:
        return {name: float(limit) for name, _, limit in pairs} or None
    except ValueError:
        raise BadCommand(f"--slo {' '.join(words)}: write NAME=NUMBER, for instance --slo ttft_ms=200.") from None


def _perplexity(arguments: argparse.Namespace) -> int:
    from benchkit.perplexity import as_text, perplexity

    found = perplexity(
        arguments.model, arguments.text, window=arguments.window, against=arguments.against,
        n_threads=arguments.threads,
    )  # fmt: skip
    _print_json(found.to_dict()) if arguments.json else print(visible(as_text(found)))
    return 0


def _serve(arguments: argparse.Namespace) -> int:
    if not arguments.truth:
        from benchkit.serve import PORT, serve

        serve(arguments.models, PORT if arguments.port is None else arguments.port, arguments.threads)
        return 0
    from benchkit import truth
    from benchkit.script import read_script

    words = (word.partition("=") for word in arguments.script)
    script = read_script({key: _value(text) for key, _, text in words})
    port = truth.PORT if arguments.port is None else arguments.port
    truth.serve(port, script, ready=lambda url: _say(f"the truth is at {url} (Ctrl-C ends it)"))
    return 0


def _quantize(arguments: argparse.Namespace) -> int:
    from benchkit.backends import locate
    from benchkit.quantize import quantize_all

    for made in quantize_all(locate(arguments.model), arguments.types, arguments.out, arguments.overwrite):
        print(visible(made), flush=True)
    return 0


def _fit(arguments: argparse.Namespace) -> int:
    from benchkit.fit import as_text, fit

    if arguments.model is None and not arguments.calibrate:
        raise BadCommand("which model? For instance: benchkit fit llama-3.1-8b\nSee: benchkit fit --help")
    if arguments.calibrate:
        from benchkit.calibration import calibrate

        calibrate(arguments.threads, _say)
    found = fit(arguments.model, arguments.types, arguments.context, arguments.threads) if arguments.model else []
    if arguments.json:
        _print_json({"forecasts": [one.to_dict() for one in found]})
    elif found:
        print(visible(as_text(found)))
    return 0


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text  # `read_script` says what is allowed


def _to_ollama(arguments: argparse.Namespace) -> int:
    from benchkit.backends.ollama_create import to_ollama

    for name in to_ollama(arguments.models or None, arguments.host):
        print(f"ollama run {name}")
    return 0


def _weigh(arguments: argparse.Namespace) -> int:
    from benchkit.weigh import QUICK, as_text, weigh

    given = {"streams": arguments.streams, "ttft_ms": arguments.ttft, "gap_ms": arguments.gap,
             "n_tokens": arguments.tokens}  # fmt: skip
    asked = {name: value for name, value in given.items() if value is not None}
    found = weigh(**{**(QUICK if arguments.quick else {}), **asked}, say=_say)
    _print_json(found) if arguments.json else print(as_text(found))
    return 0
