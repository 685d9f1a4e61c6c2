//! How long the hook takes, beside what Python needs to start: run with `--release`.
//!
//! Prints medians and 99th percentiles of runs that take turns, so that whatever else the machine does disturbs both.

#![expect(clippy::unwrap_used, reason = "a measurement that cannot go on has failed")]

use posthog_llma_local_posthog::{Config, LocalPostHog};
use posthog_llma_tests::program::Home;
use posthog_llma_tests::transcript::Transcript;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const RUNS: usize = 200;

fn main() {
    let home = Home::new();
    let posthog = LocalPostHog::start(Config::default()).unwrap();
    let transcript = home.session(Transcript::new().turns(50).text());
    let hook = || home.hook(&posthog, "SessionEnd", &transcript).run().exits_with(0).time;
    let off = || {
        let hook = home.hook(&posthog, "SessionEnd", &transcript).env("POSTHOG_LLMA_CC_ENABLED", "");
        hook.run().exits_with(0).time
    };
    // Python itself: `python3` may be a script of a version manager, which takes as long again.
    let interpreter = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output();
    let interpreter = String::from_utf8(interpreter.unwrap().stdout).unwrap();
    let python = || {
        let start = Instant::now();
        let python =
            Command::new(interpreter.trim()).args(["-c", "import json, urllib.request"]).stdin(Stdio::null()).status();
        assert!(python.is_ok_and(|status| status.success()), "this needs python3");
        start.elapsed()
    };
    // The record is there afterwards.
    hook();
    home.until_quiet();
    let mut times = [const { Vec::new() }; 3];
    for _ in 0..RUNS {
        times[0].push(hook());
        home.until_quiet();
        times[1].push(off());
        times[2].push(python());
    }
    let [hook, off, python] = times.map(|mut times| {
        times.sort();
        (times[RUNS / 2], times[RUNS * 99 / 100])
    });
    let milliseconds = |time: Duration| time.as_secs_f64() * 1000.0;
    for (name, (median, late)) in [("hook", hook), ("hook, off", off), ("python3", python)] {
        println!("{name:<10} p50 {:6.1} ms  p99 {:6.1} ms", milliseconds(median), milliseconds(late));
    }
    let ratio = hook.0.as_secs_f64() / python.0.as_secs_f64();
    println!("hook / python3: {ratio:.2}");
}
