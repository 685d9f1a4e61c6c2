"""Prints a session's events as `wasmtime run` would: `python command.py COMPONENT TRANSCRIPT`

`convert.py` hands over bytes, which the `wasmtime` package copies one by one: about two seconds for each megabyte. Here
the component reads the files itself, at full speed, and so must be given their directory. It still reaches no network:
`wasi:http` is there for it to start, but each of its functions is a trap.
"""

import os
import sys
from pathlib import Path

from wasmtime import Engine, Store, WasiConfig
from wasmtime.component import Component, Linker

RUN = "wasi:cli/run@0.2.12"


def run(component_path: str, transcript: Path) -> bool:
    engine = Engine()
    component = Component.from_file(engine, component_path)
    wasi = WasiConfig()
    wasi.argv = ["posthog-llma", "convert", f"/session/{transcript.name}"]
    wasi.env = [(name, value) for name, value in os.environ.items() if name.startswith("POSTHOG_LLMA_")]
    wasi.preopen_dir(str(transcript.parent), "/session", fs_mutable=False)
    wasi.inherit_stdout()
    wasi.inherit_stderr()
    store = Store(engine)
    store.set_wasi(wasi)
    linker = Linker(engine)
    linker.add_wasip2()
    linker.define_unknown_imports_as_traps(component)
    instance = linker.instantiate(store, component)
    interface = instance.get_export_index(store, RUN)
    function = instance.get_func(store, instance.get_export_index(store, "run", interface))
    # What went wrong, the command has said on standard error.
    return function(store).tag == "ok"


if __name__ == "__main__":
    sys.exit(0 if run(sys.argv[1], Path(sys.argv[2])) else 1)
