//! Finds the end of a body in chunks (RFC 9112, section 7.1). The bytes are passed on unchanged.

/// The most bytes of padding, extensions and trailers in a body. The server ignores them.
const MAX_EXTRA: u32 = 16 << 10;
/// The most digits of a chunk's size.
const MAX_DIGITS: u8 = 16;

/// The progress in a body in chunks.
#[derive(Debug, Default)]
pub struct Chunks {
    step: ChunkStep,
    /// The remaining bytes of the chunk.
    size: u64,
    extra: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum ChunkStep {
    /// A chunk's size, with this many digits so far.
    Size(u8),
    /// Blanks after the size.
    Padding,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// The start of a line after the last chunk.
    Line,
    Trailer,
    TrailerLf,
    LastLf,
    #[default]
    Start,
    End,
}

impl Chunks {
    /// Consumes the bytes of the body. Returns their number, and whether the body has ended or the reason why it is
    /// malformed.
    pub fn consume(&mut self, bytes: &[u8]) -> (usize, Result<bool, &'static str>) {
        let mut consumed = 0;
        while let Some(byte) = bytes.get(consumed) {
            if self.step == ChunkStep::Data {
                let count = usize::try_from(self.size).unwrap_or(usize::MAX).min(bytes.len() - consumed);
                self.size -= count as u64;
                consumed += count;
                self.step = if self.size == 0 { ChunkStep::DataCr } else { ChunkStep::Data };
                continue;
            }
            match self.step(*byte) {
                Ok(step) => self.step = step,
                Err(reason) => return (consumed, Err(reason)),
            }
            consumed += 1;
            if self.step == ChunkStep::End {
                return (consumed, Ok(true));
            }
        }
        (consumed, Ok(false))
    }

    fn step(&mut self, byte: u8) -> Result<ChunkStep, &'static str> {
        match (self.step, byte) {
            (ChunkStep::Start, _) => self.digit(byte, 0),
            (ChunkStep::Size(_), b'\r') | (ChunkStep::Padding | ChunkStep::Extension, b'\r') => {
                Ok(ChunkStep::SizeLf)
            }
            (ChunkStep::Size(_) | ChunkStep::Padding, b' ' | b'\t') => self.count_extra(ChunkStep::Padding),
            (ChunkStep::Size(_) | ChunkStep::Padding, b';') => self.count_extra(ChunkStep::Extension),
            (ChunkStep::Size(digits), _) => self.digit(byte, digits),
            (ChunkStep::Extension, _) if is_text(byte) => self.count_extra(ChunkStep::Extension),
            (ChunkStep::SizeLf, b'\n') => Ok(if self.size == 0 { ChunkStep::Line } else { ChunkStep::Data }),
            (ChunkStep::DataCr, b'\r') => Ok(ChunkStep::DataLf),
            (ChunkStep::DataLf, b'\n') => Ok(ChunkStep::Start),
            (ChunkStep::Line, b'\r') => Ok(ChunkStep::LastLf),
            (ChunkStep::LastLf, b'\n') => Ok(ChunkStep::End),
            (ChunkStep::Trailer, b'\r') => Ok(ChunkStep::TrailerLf),
            (ChunkStep::TrailerLf, b'\n') => Ok(ChunkStep::Line),
            (ChunkStep::Line | ChunkStep::Trailer, _) if is_text(byte) => {
                self.count_extra(ChunkStep::Trailer)
            }
            _ => Err("A chunk of the request's body is malformed."),
        }
    }

    fn digit(&mut self, byte: u8, digits: u8) -> Result<ChunkStep, &'static str> {
        let digit = char::from(byte).to_digit(16).filter(|_| digits < MAX_DIGITS);
        let digit = digit.ok_or("The size of a chunk of the request's body is malformed.")?;
        self.size = if digits == 0 { 0 } else { self.size << 4 } | u64::from(digit);
        Ok(ChunkStep::Size(digits + 1))
    }

    fn count_extra(&mut self, step: ChunkStep) -> Result<ChunkStep, &'static str> {
        self.extra += 1;
        if self.extra > MAX_EXTRA {
            return Err(
                "The chunks of the request's body have more than 16384 bytes of extensions and trailers.",
            );
        }
        Ok(step)
    }
}

/// Excludes all control characters: a line feed without a carriage return ends a line for some parsers and not for others.
fn is_text(byte: u8) -> bool {
    byte == b'\t' || !byte.is_ascii_control()
}
