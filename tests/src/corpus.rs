//! Sessions for measurements: of any length, in the proportions of real ones, and the same for the same seed.
//!
//! The proportions were counted in 2,621 real transcripts (957 MB): 18 KB of a file for each tool call, 13 calls for
//! each prompt, and 80% of the responses over several lines. A tool's result is in its line twice, as the model saw it
//! and as the client keeps it; an edit's line also has the whole file as it was before. One result in seven repeats an
//! earlier one. The share of images is a parameter. The texts are this project's own sources, so that they have the
//! line breaks, quotes and words of code.

#![expect(clippy::unwrap_used, reason = "a measurement that cannot go on has failed")]

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// The time of the first line at the earliest, since 1970: the first of January 2026.
const BEGINNING: Duration = Duration::from_hours(20_454 * 24);

/// The composition of a session.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Total bytes of all its files.
    pub bytes: u64,
    /// The percentage of bytes that are images.
    pub images: u64,
    /// Whether sub-agents do a share of the work, in their own files.
    pub agents: bool,
    /// Use a gateway's IDs, which are long, instead of Anthropic's.
    pub gateway: bool,
    /// Distinguishes it from others.
    pub seed: u64,
}

impl Shape {
    /// A session of this many bytes, with 10% images and with sub-agents.
    pub fn of(bytes: u64) -> Self {
        Self { bytes, images: 10, agents: true, gateway: false, seed: 1 }
    }
}

/// Parts of lines with a made-up secret from a test or a page. The rules would find it, and rightly so.
const MADE_UP: [&str; 5] = ["hunter2", ":secret@", ":word@", ":password@", "AKIAIOSFODNN7EXAMPLE"];

/// Pseudo-random numbers.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// Sizes between `least` and `most`, mostly small and rarely large: each doubling is as likely as the one before.
    fn size(&mut self, least: usize, most: usize) -> usize {
        let doublings = u64::from((most / least).max(1).ilog2());
        let least = least << self.below(doublings + 1);
        (least + self.below(least as u64) as usize).min(most)
    }

    fn letters(&mut self, alphabet: &[u8], count: usize) -> String {
        (0..count).map(|_| char::from(alphabet[self.below(alphabet.len() as u64) as usize])).collect()
    }
}

const ALNUM: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

/// Texts, escaped as in a transcript.
pub struct Texts {
    /// Lines of the project's sources, joined by `
    /// ` as JSON escapes it.
    code: String,
    /// Incompressible Base64.
    base64: String,
}

impl Default for Texts {
    fn default() -> Self {
        Self::new()
    }
}

impl Texts {
    /// Reads the project's sources.
    pub fn new() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let mut files = Vec::new();
        for folder in
            ["docs", "guest/pipeline/src/session", "guest/pipeline/src/events", "host/src", "xtask/src", "plugin"]
        {
            sources(&root.join(folder), &mut files);
        }
        files.push(root.join("Cargo.lock"));
        files.sort();
        let mut code = String::new();
        for file in files {
            let text = fs::read_to_string(&file).unwrap_or_default();
            let text: String =
                text.split_inclusive('\n').filter(|line| !MADE_UP.iter().any(|word| line.contains(word))).collect();
            let json = serde_json::to_string(&text).unwrap();
            code.push_str(&json[1..json.len() - 1]);
        }
        let mut chance = Chance(0x9E37_79B9_7F4A_7C15);
        Self { code, base64: chance.letters(ALNUM, 1 << 21) }
    }

    /// Whole lines, about this many bytes.
    fn code(&self, chance: &mut Chance, bytes: usize) -> &str {
        let bytes = bytes.min(self.code.len() / 2);
        let start = self.line_end(chance.below((self.code.len() - bytes) as u64) as usize);
        let end = self.line_end((start + bytes).min(self.code.len()));
        &self.code[start..end]
    }

    /// The position after the next line break.
    fn line_end(&self, from: usize) -> usize {
        // An escaped backslash may precede an `n`, so only a break without a backslash before it counts.
        let rest = &self.code.as_bytes()[from..];
        let is_break = |at: &usize| rest[*at..].starts_with(b"\\n") && *at > 0 && rest[at - 1] != b'\\';
        (0..rest.len()).find(is_break).map_or(self.code.len(), |at| from + at + 2)
    }

    fn base64(&self, chance: &mut Chance, bytes: usize) -> &str {
        let bytes = bytes.min(self.base64.len() / 2);
        let start = chance.below((self.base64.len() - bytes) as u64) as usize;
        &self.base64[start..start + bytes]
    }
}

fn sources(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, files);
        } else if path.extension().is_some_and(|end| end == "rs" || end == "md" || end == "json") {
            files.push(path);
        }
    }
}

/// Writes one file's lines.
struct Writer<'a, W> {
    out: W,
    texts: &'a Texts,
    chance: Chance,
    shape: Shape,
    written: u64,
    /// Bytes of images so far.
    images: u64,
    /// Milliseconds since the first line.
    clock: u64,
    parent: String,
    prompt: String,
    session: String,
    agent: Option<String>,
    /// The last result, which may be repeated.
    last: (usize, usize),
    line: String,
}

impl<W: Write> Writer<'_, W> {
    /// Like [`Chance::size`], but at most an eighth of the session: otherwise a small one would be mostly its last line.
    fn size(&mut self, least: usize, most: usize) -> usize {
        self.chance.size(least, most.min(usize::try_from(self.shape.bytes / 8).unwrap_or(most)).max(least))
    }

    fn uuid(&mut self) -> String {
        let (a, b) = (self.chance.next(), self.chance.next());
        format!(
            "{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}",
            a & 0xffff_ffff,
            b & 0xffff,
            a >> 36 & 0xfff,
            b >> 20 & 0xfff,
            a.wrapping_mul(b) & 0xffff_ffff_ffff
        )
    }

    fn id(&mut self, prefix: &str) -> String {
        let count = if self.shape.gateway { 48 } else { 22 };
        let letters = self.chance.letters(ALNUM, count);
        if self.shape.gateway { format!("chatcmpl-{prefix}-{letters}") } else { format!("{prefix}_01{letters}") }
    }

    /// Writes a line with the members that every line has; `rest` are its own.
    fn line(&mut self, kind: &str, rest: &str) -> io::Result<()> {
        self.clock += 40 + self.chance.below(9000);
        let uuid = self.uuid();
        let seconds = self.clock / 1000;
        self.line.clear();
        let sidechain = self.agent.is_some();
        let agent = self.agent.as_ref().map(|agent| format!(r#""agentId":"{agent}","#)).unwrap_or_default();
        let _ = write!(
            self.line,
            r#"{{"parentUuid":"{}","isSidechain":{sidechain},{agent}"userType":"external","cwd":"/home/dev/shop","sessionId":"{}","version":"2.1.330","gitBranch":"main","slug":"brave-hopping-hopper","type":"{kind}",{rest},"uuid":"{uuid}","timestamp":"2026-01-{:02}T{:02}:{:02}:{:02}.{:03}Z"}}"#,
            self.parent,
            self.session,
            1 + seconds / 86_400 % 28,
            seconds / 3600 % 24,
            seconds / 60 % 60,
            seconds % 60,
            self.clock % 1000,
        );
        self.line.push('\n');
        self.parent = uuid;
        self.written += self.line.len() as u64;
        self.out.write_all(self.line.as_bytes())
    }

    fn prompt(&mut self) -> io::Result<()> {
        self.prompt = self.uuid();
        let snapshot = self.texts.code(&mut self.chance, 900).replace('\\', "");
        self.line(
            "file-history-snapshot",
            &format!(r#""messageId":"m","snapshot":{{"trackedFileBackups":"{}"}}"#, snapshot.replace('"', "")),
        )?;
        let size = self.chance.size(60, 4000);
        let text = self.texts.code(&mut self.chance, size);
        let rest = format!(r#""promptId":"{}","message":{{"role":"user","content":"{text}"}}"#, self.prompt);
        self.line("user", &rest)
    }

    /// Writes a line of a response, with this block.
    fn response(&mut self, message: &str, block: &str, last: bool) -> io::Result<()> {
        let stop = if last { r#""tool_use""# } else { "null" };
        // All lines of a response have the same usage and request ID.
        let mut chance = Chance(message.bytes().fold(7, |sum, byte| sum * 31 % 1_000_003 + u64::from(byte)));
        let cached = 20_000 + chance.below(90_000);
        let output = 1 + chance.below(2000);
        let request = format!("req_01{}", chance.letters(ALNUM, 22));
        let rest = format!(
            r#""message":{{"model":"claude-opus-5-5","id":"{message}","type":"message","role":"assistant","content":[{block}],"stop_reason":{stop},"stop_sequence":null,"usage":{{"input_tokens":3,"cache_creation_input_tokens":{output},"cache_read_input_tokens":{cached},"cache_creation":{{"ephemeral_5m_input_tokens":{output},"ephemeral_1h_input_tokens":0}},"output_tokens":{output},"service_tier":"standard"}}}},"requestId":"{request}","effort":"high""#
        );
        self.line("assistant", &rest)
    }

    /// Writes a response with one call, and its result.
    fn call(&mut self) -> io::Result<()> {
        let message = self.id("msg");
        if !self.chance.one_in(5) {
            let signature = self.chance.size(300, 2500);
            let thinking = self.chance.size(60, 1500);
            let thinking = self.texts.code(&mut self.chance, thinking);
            let signature = self.texts.base64(&mut self.chance, signature);
            let block = format!(r#"{{"type":"thinking","thinking":"{thinking}","signature":"{signature}"}}"#);
            self.response(&message, &block, false)?;
        }
        if self.chance.one_in(2) {
            let size = self.chance.size(40, 1200);
            let text = self.texts.code(&mut self.chance, size);
            self.response(&message, &format!(r#"{{"type":"text","text":"{text}"}}"#), false)?;
        }
        let id = self.id("toolu");
        if self.images * 100 < self.shape.images * self.written {
            let size = self.size(40_000, 900_000);
            // An image stands twice in its line. A small session cannot have one and keep its share of images.
            if (self.images + 2 * size as u64) * 100 <= self.shape.images * self.shape.bytes {
                return self.screenshot(&message, &id, size);
            }
        }
        match self.chance.below(100) {
            0..45 => self.shell(&message, &id),
            45..75 => self.read(&message, &id),
            _ => self.edit(&message, &id),
        }
    }

    fn tool(&mut self, message: &str, id: &str, name: &str, input: &str) -> io::Result<()> {
        let block = format!(r#"{{"type":"tool_use","id":"{id}","name":"{name}","input":{{{input}}}}}"#);
        self.response(message, &block, true)
    }

    fn result(&mut self, id: &str, content: &str, kept: &str) -> io::Result<()> {
        let rest = format!(
            r#""promptId":"{}","message":{{"role":"user","content":[{{"tool_use_id":"{id}","type":"tool_result","content":{content}}}]}},"toolUseResult":{kept},"sourceToolAssistantUUID":"{}""#,
            self.prompt, self.parent
        );
        self.line("user", &rest)
    }

    fn shell(&mut self, message: &str, id: &str) -> io::Result<()> {
        let command = self.texts.code(&mut self.chance, 120);
        self.tool(message, id, "Bash", &format!(r#""command":"{command}","description":"Show the state""#))?;
        let size = self.size(30, 16_000);
        // One result in seven repeats an earlier one.
        let seed = if self.chance.one_in(7) { self.last } else { (self.chance.next() as usize, size) };
        self.last = seed;
        let output = self.texts.code(&mut Chance(seed.0 as u64 | 1), seed.1);
        let content = format!(r#""{output}""#);
        let kept = format!(r#"{{"stdout":"{output}","stderr":"","interrupted":false,"isImage":false}}"#);
        self.result(id, &content, &kept)
    }

    fn read(&mut self, message: &str, id: &str) -> io::Result<()> {
        self.tool(message, id, "Read", r#""file_path":"/home/dev/shop/src/main.rs""#)?;
        let size = self.size(400, 16_000);
        let file = self.texts.code(&mut self.chance, size);
        let mut content = String::with_capacity(file.len() * 5 / 4);
        content.push('"');
        for (number, line) in (1..).zip(file.split_inclusive("\\n")) {
            let _ = write!(content, "{number:>6}→{line}");
        }
        content.push('"');
        let kept = format!(
            r#"{{"type":"text","file":{{"filePath":"/home/dev/shop/src/main.rs","content":"{file}","numLines":300,"startLine":1,"totalLines":300}}}}"#
        );
        self.result(id, &content, &kept)
    }

    fn edit(&mut self, message: &str, id: &str) -> io::Result<()> {
        let size = self.chance.size(80, 3000);
        let new = self.texts.code(&mut self.chance, size);
        let old = self.texts.code(&mut self.chance, size);
        let input = format!(r#""file_path":"/home/dev/shop/src/main.rs","old_string":"{old}","new_string":"{new}""#);
        self.tool(message, id, "Edit", &input)?;
        let size = self.size(3000, 48_000);
        let file = self.texts.code(&mut self.chance, size);
        let kept = format!(
            r#"{{"filePath":"/home/dev/shop/src/main.rs","oldString":"{old}","newString":"{new}","originalFile":"{file}","structuredPatch":[{{"oldStart":1,"oldLines":3,"newStart":1,"newLines":3,"lines":[" {new}","-a","+b"]}}],"userModified":false,"replaceAll":false}}"#
        );
        self.result(id, r#""The file /home/dev/shop/src/main.rs has been updated.""#, &kept)
    }

    fn screenshot(&mut self, message: &str, id: &str, size: usize) -> io::Result<()> {
        self.tool(message, id, "Read", r#""file_path":"/home/dev/shop/screen.png""#)?;
        let data = self.texts.base64(&mut self.chance, size);
        let content =
            format!(r#"[{{"type":"image","source":{{"type":"base64","data":"{data}","media_type":"image/png"}}}}]"#);
        let kept =
            format!(r#"{{"type":"image","file":{{"base64":"{data}","type":"image/png","originalSize":{size}}}}}"#);
        self.images += 2 * data.len() as u64;
        self.result(id, &content, &kept)
    }

    /// Writes turns until the file has this many bytes.
    fn turns(&mut self, bytes: u64) -> io::Result<()> {
        let mut calls = 0;
        while self.written < bytes {
            if calls == 0 {
                self.prompt()?;
                calls = 1 + self.chance.below(25);
            }
            self.call()?;
            calls -= 1;
        }
        let message = self.id("msg");
        self.response(&message, r#"{"type":"text","text":"Done."}"#, true)
    }
}

impl Writer<'_, BufWriter<File>> {
    /// Ends the file. Like a past session's, it was written when its last line says: a fresh one may still run.
    fn end(&mut self) -> io::Result<()> {
        self.out.flush()?;
        self.out.get_ref().set_modified(SystemTime::UNIX_EPOCH + BEGINNING + Duration::from_millis(self.clock))
    }
}

/// Writes a session into a project's folder; returns the path of its main transcript.
pub fn write(folder: &Path, texts: &Texts, shape: Shape) -> io::Result<PathBuf> {
    fs::create_dir_all(folder)?;
    let mut chance = Chance(shape.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    chance.next();
    let id = format!("{:08x}-0000-4000-8000-{:012x}", shape.seed, shape.bytes);
    let writer = |out: File, seed: u64, agent: Option<String>| Writer {
        out: BufWriter::with_capacity(1 << 20, out),
        texts,
        chance: Chance(seed | 1),
        shape,
        written: 0,
        images: 0,
        clock: shape.seed * 60_000 % 2_000_000_000,
        parent: "00000000-0000-4000-8000-000000000000".to_owned(),
        prompt: String::new(),
        session: id.clone(),
        agent,
        last: (1, 500),
        line: String::new(),
    };
    let main = folder.join(format!("{id}.jsonl"));
    // Sub-agents do a tenth of the work in sessions that are large enough to have one.
    let of_agents = if shape.agents && shape.bytes > 1_000_000 { shape.bytes / 10 } else { 0 };
    let mut lines = writer(File::create(&main)?, chance.next(), None);
    lines.turns(shape.bytes - of_agents)?;
    lines.end()?;
    let mut left = of_agents;
    let mut number = 0;
    while left > 0 {
        number += 1;
        let bytes = left.min(2_000_000);
        left -= bytes;
        let agent = format!("a{number:016x}");
        let folder = folder.join(&id).join("subagents");
        fs::create_dir_all(&folder)?;
        let mut lines = writer(File::create(folder.join(format!("agent-{agent}.jsonl")))?, chance.next(), Some(agent));
        lines.turns(bytes)?;
        lines.end()?;
    }
    Ok(main)
}

/// Writes a session with this many prompts, each with an answer, and no tools.
pub fn write_prompts(folder: &Path, texts: &Texts, prompts: usize) -> io::Result<PathBuf> {
    let shape = Shape { agents: false, ..Shape::of(1) };
    let path = write(folder, texts, shape)?;
    let mut lines = Writer {
        out: BufWriter::new(File::create(&path)?),
        texts,
        chance: Chance(7),
        shape,
        written: 0,
        images: 0,
        clock: 0,
        parent: "00000000-0000-4000-8000-000000000000".to_owned(),
        prompt: String::new(),
        session: path.file_stem().unwrap().to_string_lossy().into_owned(),
        agent: None,
        last: (1, 500),
        line: String::new(),
    };
    for _ in 0..prompts {
        lines.prompt()?;
        let message = lines.id("msg");
        lines.response(&message, r#"{"type":"text","text":"Done."}"#, true)?;
    }
    lines.out.flush()?;
    Ok(path)
}

/// Writes a session with one line of this many bytes: the output of a tool.
pub fn write_long_line(folder: &Path, texts: &Texts, bytes: usize) -> io::Result<PathBuf> {
    let path = write(folder, texts, Shape { agents: false, ..Shape::of(1) })?;
    let mut file = BufWriter::new(fs::OpenOptions::new().append(true).open(&path)?);
    write!(
        file,
        r#"{{"type":"user","uuid":"u","timestamp":"2026-01-01T00:00:00Z","message":{{"role":"user","content":""#
    )?;
    let mut chance = Chance(11);
    let mut written = 0;
    while written < bytes {
        let text = texts.code(&mut chance, 60_000);
        written += text.len();
        file.write_all(text.as_bytes())?;
    }
    writeln!(file, r#""}}}}"#)?;
    file.flush()?;
    Ok(path)
}
