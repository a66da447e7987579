//! A body in chunks (RFC 9112, section 7.1). It is passed on as it comes; only its end is looked for.

/// Bytes of padding, extensions and trailers that a body has at most. Nothing here uses them.
const MAX_EXTRA: u32 = 16 << 10;
/// Digits of a chunk's size at most.
const MAX_DIGITS: u8 = 16;

/// How far a body in chunks has been read.
#[derive(Debug, Default)]
pub struct Chunks {
    step: ChunkStep,
    /// Bytes that the chunk still has.
    size: u64,
    extra: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum ChunkStep {
    /// A chunk's size, with so many digits so far.
    Size(u8),
    /// Blanks behind the size.
    Padding,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// The beginning of a line behind the last chunk.
    Line,
    Trailer,
    TrailerLf,
    LastLf,
    #[default]
    Start,
    End,
}

impl Chunks {
    /// Takes what belongs to the body. Returns how many bytes that are, and whether the body has ended or why it cannot
    /// go on.
    pub fn take(&mut self, bytes: &[u8]) -> (usize, Result<bool, &'static str>) {
        let mut taken = 0;
        while let Some(byte) = bytes.get(taken) {
            if self.step == ChunkStep::Data {
                let here = usize::try_from(self.size).unwrap_or(usize::MAX).min(bytes.len() - taken);
                self.size -= here as u64;
                taken += here;
                self.step = if self.size == 0 { ChunkStep::DataCr } else { ChunkStep::Data };
                continue;
            }
            match self.step(*byte) {
                Ok(step) => self.step = step,
                Err(why) => return (taken, Err(why)),
            }
            taken += 1;
            if self.step == ChunkStep::End {
                return (taken, Ok(true));
            }
        }
        (taken, Ok(false))
    }

    fn step(&mut self, byte: u8) -> Result<ChunkStep, &'static str> {
        match (self.step, byte) {
            (ChunkStep::Start, _) => self.digit(byte, 0),
            (ChunkStep::Size(_), b'\r') | (ChunkStep::Padding | ChunkStep::Extension, b'\r') => {
                Ok(ChunkStep::SizeLf)
            }
            (ChunkStep::Size(_) | ChunkStep::Padding, b' ' | b'\t') => self.more(ChunkStep::Padding),
            (ChunkStep::Size(_) | ChunkStep::Padding, b';') => self.more(ChunkStep::Extension),
            (ChunkStep::Size(digits), _) => self.digit(byte, digits),
            (ChunkStep::Extension, _) if is_text(byte) => self.more(ChunkStep::Extension),
            (ChunkStep::SizeLf, b'\n') => Ok(if self.size == 0 { ChunkStep::Line } else { ChunkStep::Data }),
            (ChunkStep::DataCr, b'\r') => Ok(ChunkStep::DataLf),
            (ChunkStep::DataLf, b'\n') => Ok(ChunkStep::Start),
            (ChunkStep::Line, b'\r') => Ok(ChunkStep::LastLf),
            (ChunkStep::LastLf, b'\n') => Ok(ChunkStep::End),
            (ChunkStep::Trailer, b'\r') => Ok(ChunkStep::TrailerLf),
            (ChunkStep::TrailerLf, b'\n') => Ok(ChunkStep::Line),
            (ChunkStep::Line | ChunkStep::Trailer, _) if is_text(byte) => self.more(ChunkStep::Trailer),
            _ => Err("A chunk of the request's body is malformed."),
        }
    }

    fn digit(&mut self, byte: u8, digits: u8) -> Result<ChunkStep, &'static str> {
        let digit = char::from(byte).to_digit(16).filter(|_| digits < MAX_DIGITS);
        let digit = digit.ok_or("The size of a chunk of the request's body is malformed.")?;
        self.size = if digits == 0 { 0 } else { self.size << 4 } | u64::from(digit);
        Ok(ChunkStep::Size(digits + 1))
    }

    fn more(&mut self, step: ChunkStep) -> Result<ChunkStep, &'static str> {
        self.extra += 1;
        if self.extra > MAX_EXTRA {
            return Err(
                "The chunks of the request's body have more than 16384 bytes of extensions and trailers.",
            );
        }
        Ok(step)
    }
}

/// A line feed without a carriage return ends a line for some readers and not for others.
fn is_text(byte: u8) -> bool {
    byte == b'\t' || !byte.is_ascii_control()
}
