//! How is an answer compressed that comes in parts? Part by part, each of them readable as soon as it is there.

use std::io;
use std::io::Write;

use bytes::Bytes;
use flate2::write::GzEncoder;
use http::HeaderValue;

use crate::http::negotiate::Coding;

/// A compressor of one answer.
pub(crate) struct Coder {
    inner: Inner,
}

enum Inner {
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
    Gzip(GzEncoder<Vec<u8>>),
}

impl Coder {
    /// # Errors
    ///
    /// When the compressor cannot be made: there is no memory for it.
    pub(crate) fn new(coding: Coding) -> io::Result<Self> {
        let inner = match coding {
            Coding::Zstd => Inner::Zstd(zstd::stream::write::Encoder::new(Vec::new(), 1)?),
            Coding::Gzip => Inner::Gzip(GzEncoder::new(Vec::new(), flate2::Compression::fast())),
        };
        Ok(Self { inner })
    }

    /// What the part is, compressed, with nothing of it held back.
    ///
    /// # Errors
    ///
    /// What the compressor says.
    pub(crate) fn push(&mut self, part: &[u8]) -> io::Result<Bytes> {
        let out = match &mut self.inner {
            Inner::Zstd(encoder) => {
                encoder.write_all(part)?;
                encoder.flush()?;
                encoder.get_mut()
            }
            Inner::Gzip(encoder) => {
                encoder.write_all(part)?;
                encoder.flush()?;
                encoder.get_mut()
            }
        };
        Ok(std::mem::take(out).into())
    }

    /// What stands behind the last part. Without it a reader knows that something is missing.
    ///
    /// # Errors
    ///
    /// What the compressor says.
    pub(crate) fn finish(self) -> io::Result<Bytes> {
        let out = match self.inner {
            Inner::Zstd(encoder) => encoder.finish()?,
            Inner::Gzip(encoder) => encoder.finish()?,
        };
        Ok(out.into())
    }
}

/// The name of a coding, as `Content-Encoding` has it.
pub(crate) fn name(coding: Coding) -> HeaderValue {
    HeaderValue::from_static(match coding {
        Coding::Zstd => "zstd",
        Coding::Gzip => "gzip",
    })
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::http::body::decoder;

    #[test]
    fn each_part_can_be_read_when_it_is_there() {
        for coding in [Coding::Zstd, Coding::Gzip] {
            let mut coder = Coder::new(coding).unwrap();
            let mut whole = Vec::new();
            let mut sent = Vec::new();
            for number in 0..5 {
                let part = format!("part {number} ").repeat(1_000);
                whole.extend_from_slice(&coder.push(part.as_bytes()).unwrap());
                sent.extend_from_slice(part.as_bytes());
                let mut read = vec![0; sent.len()];
                decoder(coding, whole.as_slice()).unwrap().read_exact(&mut read).unwrap();
                assert!(read == sent, "{coding:?}");
            }
            // What ends too early is not taken for whole.
            assert!(decoder(coding, whole.as_slice()).unwrap().read_to_end(&mut Vec::new()).is_err(), "{coding:?}");
            whole.extend_from_slice(&coder.finish().unwrap());
            let mut read = Vec::new();
            decoder(coding, whole.as_slice()).unwrap().read_to_end(&mut read).unwrap();
            assert!(read == sent && whole.len() < sent.len() / 10, "{coding:?}");
        }
    }
}
