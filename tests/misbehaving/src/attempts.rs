//! The component's attempts.

use crate::requests::Request;
use crate::wasi::clocks::monotonic_clock;
use crate::wasi::filesystem::preopens;
use crate::wasi::filesystem::types::{Descriptor, DescriptorFlags, NewTimestamp, OpenFlags, PathFlags};
use std::fmt::Debug;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket};

/// Makes the attempt `name` and returns its outcome. `argument` is a request, an address or a path.
pub fn attempt(name: &str, files: &[Descriptor], argument: &str) -> String {
    match name {
        "nothing" => "done".to_owned(),
        "request" => request(argument),
        "requests" => argument.lines().map(request).collect::<Vec<_>>().join("\n"),
        "follow-redirect" => follow_redirect(argument),

        "tcp-connect" => outcome(TcpStream::connect(argument).map(drop)),
        "tcp-listen" => outcome(TcpListener::bind(argument).map(drop)),
        "udp-send" => {
            outcome(UdpSocket::bind("0.0.0.0:0").and_then(|socket| socket.send_to(b"hello", argument)).map(drop))
        }
        "name-lookup" => outcome(argument.to_socket_addrs().map(|a| a.count())),

        "read" => with_file(files, |file| file.read(100, 0).map(text)),
        "size" => with_file(files, |file| file.stat().map(|stat| stat.size)),
        "read-stream" => with_file(files, |file| file.read_via_stream(0).map(drop)),
        "write" => with_file(files, |file| file.write(b"overwritten", 0)),
        "write-stream" => with_file(files, |file| file.write_via_stream(0).map(drop)),
        "append-stream" => with_file(files, |file| file.append_via_stream().map(drop)),
        "truncate" => with_file(files, |file| file.set_size(0)),
        "set-times" => with_file(files, |file| file.set_times(NewTimestamp::Now, NewTimestamp::Now)),
        "flags" => with_file(files, Descriptor::get_flags),
        "open-at" => with_file(files, |file| {
            file.open_at(PathFlags::SYMLINK_FOLLOW, argument, OpenFlags::empty(), DescriptorFlags::READ).map(drop)
        }),
        "create-at" => with_file(files, |file| {
            file.open_at(PathFlags::empty(), argument, OpenFlags::CREATE, DescriptorFlags::WRITE).map(drop)
        }),
        "stat-at" => with_file(files, |file| file.stat_at(PathFlags::SYMLINK_FOLLOW, argument).map(drop)),
        "readlink-at" => with_file(files, |file| file.readlink_at(argument)),
        "unlink-at" => with_file(files, |file| file.unlink_file_at(argument)),
        "rename-at" => with_file(files, |file| file.rename_at(argument, file, "stolen")),
        "list" => with_file(files, |file| file.read_directory().map(drop)),
        "preopens" => format!("{:?}", preopens::get_directories().len()),
        "open-path" => outcome(std::fs::read_to_string(argument)),
        "create-path" => outcome(std::fs::write(argument, "mine")),

        "environment" => format!("{:?}", std::env::vars_os().collect::<Vec<_>>()),
        "arguments" => format!("{:?}", std::env::args_os().collect::<Vec<_>>()),
        "initial-directory" => format!("{:?}", crate::wasi::cli::environment::initial_cwd()),
        "stdin" => {
            let mut input = Vec::new();
            format!("{:?}, {input:?}", std::io::stdin().read_to_end(&mut input))
        }

        "flood-stdout" => flood(std::io::stdout()),
        "flood-stderr" => flood(std::io::stderr()),
        "allocate" => allocate(argument),
        "many-handles" => many_handles(),
        "random" => {
            let length = argument.parse().unwrap_or(u64::MAX);
            crate::wasi::random::random::get_random_bytes(length).len().to_string()
        }
        "spin" => spin(),
        "spin-in-calls" => loop {
            std::hint::black_box(monotonic_clock::now());
        },
        "sleep" => {
            monotonic_clock::subscribe_duration(3600 * 1_000_000_000).block();
            "woke up".to_owned()
        }
        "panic" => panic!("it went wrong\x1b[2J"),
        "unreachable" => core::arch::wasm32::unreachable(),
        "exit" => std::process::exit(3),
        "recurse" => recurse(1).to_string(),
        "bad-pointer" => {
            // The end of the address space: no memory is that large.
            let byte = unsafe { std::ptr::read_volatile(usize::MAX as *const u8) };
            byte.to_string()
        }
        other => format!("unknown attempt {other}"),
    }
}

fn outcome<T: Debug, E: Debug>(result: Result<T, E>) -> String {
    match result {
        Ok(value) => format!("succeeded: {value:?}"),
        Err(error) => format!("failed: {error:?}"),
    }
}

fn text((bytes, _end): (Vec<u8>, bool)) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

fn with_file<T: Debug, E: Debug>(files: &[Descriptor], act: impl FnOnce(&Descriptor) -> Result<T, E>) -> String {
    match files.first() {
        Some(file) => outcome(act(file)),
        None => "no file".to_owned(),
    }
}

fn request(text: &str) -> String {
    match Request::parse(text) {
        Some(request) => request.send(),
        None => format!("no request: {text}"),
    }
}

/// Requests `argument`, then the `location` of its response.
fn follow_redirect(argument: &str) -> String {
    let first = request(argument);
    let Some((_, rest)) = first.split_once(" to ") else {
        return first;
    };
    let location = rest.trim_end_matches([':', ' ']);
    let second = request(&format!("POST {location}"));
    format!("{first}\n{second}")
}

fn flood(mut output: impl Write) -> String {
    let piece = vec![b'x'; 1 << 16];
    let written = (0..1024).take_while(|_| output.write_all(&piece).is_ok());
    format!("{} pieces", written.count())
}

/// Allocates `argument` MiB, writes every byte, and keeps them.
fn allocate(argument: &str) -> String {
    let wanted: usize = argument.parse().unwrap_or(usize::MAX);
    let mut pieces = Vec::new();
    for _ in 0..wanted {
        pieces.push(std::hint::black_box(vec![1u8; 1 << 20]));
    }
    format!("{} MiB", pieces.len())
}

/// Makes objects that the host has to keep.
fn many_handles() -> String {
    let mut handles = Vec::new();
    for _ in 0..10_000 {
        handles.push(crate::wasi::http::types::Fields::new());
    }
    format!("{} handles", handles.len())
}

fn spin() -> ! {
    let mut number = 1u64;
    loop {
        number = std::hint::black_box(number.wrapping_mul(3));
    }
}

#[expect(unconditional_recursion)]
fn recurse(depth: u64) -> u64 {
    std::hint::black_box(recurse(depth + 1)) + depth
}
