//! Unpacking a body as it comes (RFC 9110, section 8.4.1).
//!
//! A piece of what comes out is made when it is asked for, never more than [`PIECE`], whatever a few bytes would unpack
//! to; what the decoders themselves remember is bounded by their formats, and all together by [`Share`].

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use async_compression::tokio::bufread::{BrotliDecoder, GzipDecoder, ZlibDecoder, ZstdDecoder};
use async_compression::zstd::DParameter;
use bytes::{Buf as _, Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body as _, Frame};
use tokio::io::{AsyncBufRead, AsyncRead, ReadBuf};

use super::coding::Coding;
use super::share::Share;
use crate::policy::reason::Reason;
use crate::sidecar::egress::body::{Body, BodyError};
use crate::sidecar::egress::turns::Turns;

/// The most bytes that are unpacked at once.
const PIECE: usize = 16 << 10;

/// The most bytes that are taken without a byte coming out before others have their turn: some formats allow any number
/// of bytes that unpack to nothing.
const FUTILE: usize = 4 << 10;

/// The largest window of zstd for a content coding (RFC 9659, section 3): 8 MiB.
const ZSTD_WINDOW_LOG: u32 = 23;

/// A body, unpacked.
pub(crate) struct Unpacked {
    decoder: Box<dyn Decoder>,
    share: Share,
    ended: bool,
}

impl Unpacked {
    pub(crate) fn new(coding: Coding, body: Body) -> Self {
        let source =
            Source { body, piece: Bytes::new(), any: false, trailers: None, futile: Turns::new(FUTILE) };
        let decoder: Box<dyn Decoder> = match coding {
            Coding::Gzip => {
                let mut decoder = GzipDecoder::new(source);
                // RFC 1952, section 2.2.
                decoder.multiple_members(true);
                Box::new(decoder)
            }
            Coding::Deflate => Box::new(ZlibDecoder::new(source)),
            Coding::Brotli => Box::new(BrotliDecoder::new(source)),
            Coding::Zstd => {
                let window = DParameter::window_log_max(ZSTD_WINDOW_LOG);
                let mut decoder = ZstdDecoder::with_params(source, &[window]);
                // RFC 8878, section 3.
                decoder.multiple_members(true);
                Box::new(decoder)
            }
        };
        Self { decoder, share: Share::new(coding), ended: false }
    }

    /// Ends the body: nothing may follow what was unpacked but trailers.
    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let source = self.decoder.source();
        let rest = ready!(Pin::new(&mut *source).poll_fill_buf(context)).map(<[u8]>::len);
        let trailers = source.trailers.take();
        self.ended = true;
        Poll::Ready(match rest {
            Ok(0) => trailers.map(|trailers| Ok(Frame::trailers(trailers))),
            Ok(_) => Some(Err(failed("bytes follow the end of the packed body"))),
            Err(error) => Some(Err(told(error))),
        })
    }
}

impl http_body::Body for Unpacked {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        if this.ended {
            return Poll::Ready(None);
        }
        let mut piece = BytesMut::zeroed(PIECE);
        let mut buffer = ReadBuf::new(&mut piece);
        let read = ready!(Pin::new(&mut this.decoder).poll_read(context, &mut buffer));
        let length = buffer.filled().len();
        if let Err(error) = read {
            let told = told(error);
            // A body without a byte is packed nothing, in the eyes of everyone but the decoders.
            if told.reason == Reason::ScrubFailed && !this.decoder.source().any {
                return this.poll_end(context);
            }
            this.ended = true;
            return Poll::Ready(Some(Err(told)));
        }
        if length == 0 {
            return this.poll_end(context);
        }
        this.decoder.source().futile.begin();
        if !this.share.grow(length) {
            this.ended = true;
            return Poll::Ready(Some(Err(failed("too many large packed bodies at a time"))));
        }
        piece.truncate(length);
        Poll::Ready(Some(Ok(Frame::data(piece.freeze()))))
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }
}

fn failed(detail: &str) -> BodyError {
    BodyError { reason: Reason::ScrubFailed, detail: detail.to_owned() }
}

/// What broke below comes through a decoder as it was; everything else is the decoder's own.
fn told(error: io::Error) -> BodyError {
    match error.downcast::<BodyError>() {
        Ok(below) => below,
        Err(own) => failed(&format!("the packed body can't be read: {own}")),
    }
}

/// A decoder of any coding.
trait Decoder: AsyncRead + Send + Unpin {
    fn source(&mut self) -> &mut Source;
}

impl Decoder for GzipDecoder<Source> {
    fn source(&mut self) -> &mut Source {
        self.get_mut()
    }
}

impl Decoder for ZlibDecoder<Source> {
    fn source(&mut self) -> &mut Source {
        self.get_mut()
    }
}

impl Decoder for BrotliDecoder<Source> {
    fn source(&mut self) -> &mut Source {
        self.get_mut()
    }
}

impl Decoder for ZstdDecoder<Source> {
    fn source(&mut self) -> &mut Source {
        self.get_mut()
    }
}

/// A body as a stream of bytes.
struct Source {
    body: Body,
    piece: Bytes,
    /// Whether there was any byte.
    any: bool,
    trailers: Option<HeaderMap>,
    /// What was taken since something came out or others had their turn.
    futile: Turns,
}

impl AsyncBufRead for Source {
    fn poll_fill_buf(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        ready!(this.futile.poll(context));
        while this.piece.is_empty() && this.trailers.is_none() {
            match ready!(Pin::new(&mut this.body).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        this.any |= !data.is_empty();
                        this.piece = data;
                    }
                    Err(frame) => this.trailers = frame.into_trailers().ok(),
                },
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
                None => break,
            }
        }
        Poll::Ready(Ok(&this.piece))
    }

    fn consume(self: Pin<&mut Self>, amount: usize) {
        let this = self.get_mut();
        this.futile.step(amount);
        this.piece.advance(amount.min(this.piece.len()));
    }
}

impl AsyncRead for Source {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let piece = ready!(self.as_mut().poll_fill_buf(context))?;
        let length = piece.len().min(buffer.remaining());
        buffer.put_slice(piece.get(..length).unwrap_or_default());
        self.consume(length);
        Poll::Ready(Ok(()))
    }
}
