//! The two readings of a session's files, piece by piece.

use crate::session::Session;

/// Bytes read at once: WASI hosts return no more.
const PIECE: usize = 64 * 1024;

/// The files of a session.
pub trait Source {
    /// Why a file cannot be read.
    type Error;
    /// The file's current size in bytes.
    fn size(&mut self, file: u32) -> Result<u64, Self::Error>;
    /// How many bytes of the file earlier deliveries have read.
    fn read_before(&self, _file: u32) -> u64 {
        0
    }
    /// At most `most` bytes from `offset` on; none at the end.
    fn read(&mut self, file: u32, offset: u64, most: usize) -> Result<Vec<u8>, Self::Error>;
}

/// A session's files after the first reading.
#[derive(Debug)]
pub struct Reading<S> {
    source: S,
    /// Size of each file at the first reading: anything written later belongs to the next delivery.
    sizes: Vec<u64>,
    file: usize,
    offset: u64,
    bytes: u64,
}

impl<S: Source> Reading<S> {
    /// Does the first reading of this many files. The error holds the file's index.
    pub fn first(session: &mut Session, mut source: S, files: usize) -> Result<Self, (u32, S::Error)> {
        for file in 0..files as u32 {
            // It is not too late: nothing has been scanned.
            let _ = session.read_before(file, source.read_before(file));
        }
        let mut sizes = Vec::with_capacity(files);
        for file in 0..files as u32 {
            let size = source.size(file).map_err(|error| (file, error))?;
            let mut offset = 0;
            while offset < size {
                let piece = read(&mut source, file, offset, size)?;
                if piece.is_empty() {
                    break;
                }
                offset += piece.len() as u64;
                // The files are scanned in order.
                let _ = session.scan(file, &piece);
            }
            sizes.push(offset);
        }
        Ok(Self { source, bytes: sizes.iter().sum(), sizes, file: 0, offset: 0 })
    }

    /// Converts the next piece. At the end it finishes the session and returns `false`. The error holds the file's
    /// index.
    pub fn second(&mut self, session: &mut Session) -> Result<bool, (u32, S::Error)> {
        while let Some(&size) = self.sizes.get(self.file) {
            if self.offset < size {
                let file = self.file as u32;
                let piece = read(&mut self.source, file, self.offset, size)?;
                if !piece.is_empty() {
                    self.offset += piece.len() as u64;
                    self.bytes += piece.len() as u64;
                    // The files are converted in order.
                    let _ = session.convert(file, &piece);
                    return Ok(true);
                }
                // The file shrank in the meantime: what was still there counts.
            }
            self.file += 1;
            self.offset = 0;
        }
        // This happens only once.
        let _ = session.finish();
        Ok(false)
    }

    /// Bytes read so far, in both readings.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// The next piece of a file of `size` bytes.
fn read<S: Source>(source: &mut S, file: u32, offset: u64, size: u64) -> Result<Vec<u8>, (u32, S::Error)> {
    let most = PIECE.min((size - offset) as usize);
    source.read(file, offset, most).map_err(|error| (file, error))
}
