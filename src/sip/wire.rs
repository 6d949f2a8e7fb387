//! Messages on the wire (RFC 3261 §7, §18, §25.1): a parser that borrows, a framer for streams, a writer.
//!
//! A [`Message`] is its bytes and an index of spans into them. Parsing goes over the head once and copies nothing,
//! but for a message with folded header fields, whose folds are blanked in a copy, so that no reader ever meets one.
//! What every message must have (§8.1.1) is checked here and then found without looking again.

use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;

use crate::{
    header::{NameAddr, Via, parse_cseq, parse_number},
    lex::{is_token, text, trim},
    uri::{Scheme, Uri},
};

mod framer;
mod name;
mod write;

pub use framer::{Frame, StreamFramer};
pub use name::{Method, Name};
pub use write::{Writer, copy_for_response};

/// Most octets before the body.
pub const HEAD_MAX: usize = 16 * 1024;
/// Most octets of a body.
pub const BODY_MAX: usize = 64 * 1024;
/// Longest Request-URI, in octets.
pub const URI_MAX: usize = 2 * 1024;
/// Most header fields.
pub const HEADERS_MAX: usize = 128;

/// A request or a response.
#[derive(Debug, Clone)]
pub struct Message {
    bytes: Bytes,
    start: Start,
    headers: SmallVec<[Field; 32]>,
    core: Core,
    body: usize,
}

#[derive(Debug, Clone, Copy)]
enum Start {
    Request { method: Method, name: Span, uri: Span },
    Response { code: u16, reason: Span },
}

/// A slice of the head, which is shorter than 2¹⁶.
#[derive(Debug, Clone, Copy, Default)]
struct Span {
    from: u16,
    to: u16,
}

#[derive(Debug, Clone, Copy)]
struct Field {
    name: Name,
    label: Span,
    value: Span,
}

/// Where the parts that identify transaction and dialog are; an empty span is an absent part.
#[derive(Debug, Clone, Copy, Default)]
struct Core {
    call_id: Span,
    from_tag: Span,
    to_tag: Span,
    branch: Span,
    cseq: u32,
    cseq_method: Span,
}

/// What is wrong with bytes that are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// Nothing but line ends, which keep a path open.
    #[error("the datagram holds no message")]
    Empty,
    /// The first line is neither a request line nor a status line.
    #[error("the first line is not SIP")]
    NotSip,
    /// Method, Request-URI or the single spaces between them.
    #[error("the request line must be method, URI and version with one space between")]
    RequestLine,
    /// Request-URI.
    #[error("the Request-URI is malformed")]
    RequestUri,
    /// Longer than [`URI_MAX`].
    #[error("the Request-URI is longer than {URI_MAX} octets")]
    UriTooLong,
    /// Status code outside of 100 to 699.
    #[error("the status line must have a code from 100 to 699")]
    StatusLine,
    /// Not SIP/2.0.
    #[error("the version is not SIP/2.0")]
    Version,
    /// More than [`HEAD_MAX`] octets.
    #[error("the header fields are longer than {HEAD_MAX} octets")]
    HeadTooLong,
    /// More than [`HEADERS_MAX`].
    #[error("there are more than {HEADERS_MAX} header fields")]
    TooManyHeaders,
    /// More than [`BODY_MAX`] octets.
    #[error("the body is longer than {BODY_MAX} octets")]
    BodyTooLong,
    /// No empty line.
    #[error("the header fields do not end with an empty line")]
    NoEnd,
    /// No name, no colon, or a continuation of nothing.
    #[error("a header line has no name with a colon after it")]
    HeaderLine,
    /// A line ends with LF or CR alone.
    #[error("a line does not end with CRLF")]
    LineEnd,
    /// A control character outside of a quoted pair.
    #[error("a header line has a control character")]
    ControlCharacter,
    /// Via, From, To, Call-ID or CSeq.
    #[error("the header field {0} is missing")]
    Missing(&'static str),
    /// A field of a single value stands twice.
    #[error("the header field {0} stands there more than once")]
    Repeated(&'static str),
    /// A field that cannot be read.
    #[error("the header field {0} is malformed")]
    Field(&'static str),
    /// CSeq and request line.
    #[error("the method of CSeq is not that of the request line")]
    MethodMismatch,
    /// The datagram ends before the body does.
    #[error("the body is shorter than Content-Length")]
    BodyTooShort,
}

impl ParseError {
    /// Status code that a request is answered with for it.
    #[must_use]
    pub const fn code(self) -> u16 {
        #[expect(clippy::wildcard_enum_match_arm, reason = "400 is what any other fault is")]
        match self {
            Self::Version => 505,
            Self::UriTooLong => 414,
            Self::HeadTooLong | Self::TooManyHeaders => 513,
            Self::BodyTooLong => 413,
            _ => 400,
        }
    }
}

/// Bytes that are no message, and what was understood of them.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{error}")]
pub struct Malformed {
    /// The first thing that is wrong.
    pub error: ParseError,
    understood: Option<Box<Message>>,
    /// The body's length, if the head says it once and it is within bounds.
    announced: Option<usize>,
}

impl Malformed {
    pub(crate) const fn unanswerable(error: ParseError) -> Self {
        Self { error, understood: None, announced: None }
    }

    /// The request, if enough of it was understood to answer it: it is no ACK and its Via, From, To, Call-ID and
    /// CSeq can be copied into a response (RFC 3261 §8.2.6.2).
    #[must_use]
    pub fn answerable(&self) -> Option<&Message> {
        self.understood.as_deref()
    }
}

impl Message {
    /// Parses a datagram. Octets beyond Content-Length are cut off (RFC 3261 §18.3).
    ///
    /// # Errors
    /// The first thing that is wrong, with what was understood.
    pub fn parse(bytes: Bytes) -> Result<Self, Malformed> {
        let lines = bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let bytes = bytes.slice(lines..);
        let Some(head) = Head::lex(&bytes) else {
            let error = if bytes.is_empty() { ParseError::Empty } else { ParseError::NotSip };
            return Err(Malformed::unanswerable(error));
        };
        head.into_message(bytes, Framing::Datagram)
    }

    /// Whether it is a request.
    #[must_use]
    pub const fn is_request(&self) -> bool {
        matches!(self.start, Start::Request { .. })
    }

    /// The request's method; of a response that of CSeq.
    #[must_use]
    pub fn method(&self) -> Method {
        match self.start {
            Start::Request { method, .. } => method,
            Start::Response { .. } => Method::lookup(self.slice(self.core.cseq_method)),
        }
    }

    /// The method as it was written.
    #[must_use]
    pub fn method_text(&self) -> &str {
        match self.start {
            Start::Request { name, .. } => self.text(name),
            Start::Response { .. } => self.text(self.core.cseq_method),
        }
    }

    /// The Request-URI as it was written; of a response empty.
    #[must_use]
    pub fn uri_text(&self) -> &str {
        match self.start {
            Start::Request { uri, .. } => self.text(uri),
            Start::Response { .. } => "",
        }
    }

    /// The Request-URI.
    #[must_use]
    pub fn uri(&self) -> Option<Uri<'_>> {
        Uri::parse(self.uri_text().as_bytes()).ok()
    }

    /// The response's status code; of a request 0.
    #[must_use]
    pub const fn code(&self) -> u16 {
        match self.start {
            Start::Response { code, .. } => code,
            Start::Request { .. } => 0,
        }
    }

    /// The response's reason phrase. May be no UTF-8.
    #[must_use]
    pub fn reason(&self) -> &[u8] {
        match self.start {
            Start::Response { reason, .. } => self.slice(reason),
            Start::Request { .. } => &[],
        }
    }

    /// Value of the first field of this name, without white space at its ends. May be no UTF-8.
    #[must_use]
    pub fn header(&self, name: Name) -> Option<&[u8]> {
        self.headers(name).next()
    }

    /// The same as text; `None` also when it is no UTF-8.
    #[must_use]
    pub fn header_text(&self, name: Name) -> Option<&str> {
        self.header(name).and_then(text)
    }

    /// Values of all fields of this name, in order.
    pub fn headers(&self, name: Name) -> impl Iterator<Item = &[u8]> {
        let fields = self.headers.iter().filter(move |field| field.name == name);
        fields.map(|field| self.slice(field.value))
    }

    /// Value of the first field of a name that [`Name`] does not have.
    #[must_use]
    pub fn named(&self, label: &str) -> Option<&[u8]> {
        self.all_named(label).next()
    }

    /// Values of all fields of such a name, in order.
    pub fn all_named(&self, label: &str) -> impl Iterator<Item = &[u8]> {
        let is_it = move |field: &&Field| self.slice(field.label).eq_ignore_ascii_case(label.as_bytes());
        self.headers.iter().filter(is_it).map(|field| self.slice(field.value))
    }

    /// All fields as name and value, in order.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.headers.iter().map(|field| (self.text(field.label), self.slice(field.value)))
    }

    /// Call-ID.
    #[must_use]
    pub fn call_id(&self) -> &str {
        self.text(self.core.call_id)
    }

    /// Number of CSeq.
    #[must_use]
    pub const fn cseq(&self) -> u32 {
        self.core.cseq
    }

    /// Tag of From.
    #[must_use]
    pub fn from_tag(&self) -> Option<&str> {
        Some(self.text(self.core.from_tag)).filter(|tag| !tag.is_empty())
    }

    /// Tag of To.
    #[must_use]
    pub fn to_tag(&self) -> Option<&str> {
        Some(self.text(self.core.to_tag)).filter(|tag| !tag.is_empty())
    }

    /// Branch parameter of the topmost Via.
    #[must_use]
    pub fn branch(&self) -> Option<&str> {
        Some(self.text(self.core.branch)).filter(|branch| !branch.is_empty())
    }

    /// The topmost Via.
    #[must_use]
    pub fn via(&self) -> Option<Via<'_>> {
        Via::parse(self.header(Name::Via)?).map(|(via, _)| via)
    }

    /// All Vias, from the top.
    pub fn vias(&self) -> impl Iterator<Item = Via<'_>> {
        self.headers(Name::Via).flat_map(|value| {
            let mut rest = Some(value);
            std::iter::from_fn(move || {
                let (via, next) = Via::parse(rest.take()?)?;
                rest = next;
                Some(via)
            })
        })
    }

    /// From.
    #[must_use]
    pub fn from(&self) -> Option<NameAddr<'_>> {
        NameAddr::parse(self.header(Name::From)?)
    }

    /// To.
    #[must_use]
    pub fn to(&self) -> Option<NameAddr<'_>> {
        NameAddr::parse(self.header(Name::To)?)
    }

    /// The values of a field that is a list of addresses: Contact, Route, Record-Route, Diversion, …
    pub fn addresses(&self, name: Name) -> impl Iterator<Item = NameAddr<'_>> {
        self.headers(name).flat_map(NameAddr::list)
    }

    /// Max-Forwards.
    #[must_use]
    pub fn max_forwards(&self) -> Option<u8> {
        parse_number(self.header(Name::MaxForwards)?, 255).and_then(|number| u8::try_from(number).ok())
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.bytes[self.body..]
    }

    /// The body, sharing the message's memory.
    #[must_use]
    pub fn body_bytes(&self) -> Bytes {
        self.bytes.slice(self.body..)
    }

    /// The whole message. Folds are blanked.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Who calls: the user part of P-Asserted-Identity (RFC 3325), else that of From. Still escaped.
    ///
    /// Whether the peer may assert an identity is for the caller to know.
    #[must_use]
    pub fn calling_number(&self) -> Option<&str> {
        let asserted = self.addresses(Name::PAssertedIdentity).find_map(|address| number_of(&address.uri));
        asserted.or_else(|| self.from().and_then(|from| number_of(&from.uri)))
    }

    /// Who is called: the user part of a SIP Request-URI or the number of a tel one. Still escaped.
    #[must_use]
    pub fn called_number(&self) -> Option<&str> {
        self.uri().and_then(|uri| number_of(&uri))
    }

    fn slice(&self, span: Span) -> &[u8] {
        &self.bytes[span.from.into()..span.to.into()]
    }

    fn text(&self, span: Span) -> &str {
        text(self.slice(span)).unwrap_or("")
    }
}

/// User part or number, without parameters that stand in it (RFC 3261 §19.1.6).
fn number_of<'a>(uri: &Uri<'a>) -> Option<&'a str> {
    let user = match uri.scheme {
        Scheme::Sip | Scheme::Sips | Scheme::Tel => uri.user?,
        Scheme::Urn | Scheme::Other => return None,
    };
    user.split(';').next().filter(|number| !number.is_empty())
}

/// Whether the end of the body is known from the bytes at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    /// The bytes end where the message ends, or after.
    Datagram,
    /// Content-Length alone tells.
    Stream,
}

/// The lexed head: lines and their spans, before anything is believed.
#[derive(Debug)]
struct Head {
    start: Start,
    headers: SmallVec<[Field; 32]>,
    folded: bool,
    /// Where the body begins; `None`: the empty line is missing.
    end: Option<usize>,
    error: Option<ParseError>,
}

impl Head {
    /// `None` when the first line is not SIP at all.
    fn lex(bytes: &[u8]) -> Option<Self> {
        let bytes = &bytes[..bytes.len().min(HEAD_MAX)];
        let mut lines = Lines { bytes, at: 0, error: None };
        let first = lines.next()?;
        let (start, error) = lex_start(bytes, first)?;
        let mut head = Self { start, headers: SmallVec::new(), folded: false, end: None, error };
        while let Some(line) = lines.next() {
            if line.from == line.to {
                head.end = Some(lines.at);
                break;
            }
            head.lex_field(bytes, line);
        }
        if let Some(error) = lines.error {
            head.fail(error);
        }
        Some(head)
    }

    fn fail(&mut self, error: ParseError) {
        self.error.get_or_insert(error);
    }

    fn lex_field(&mut self, bytes: &[u8], line: Span) {
        let raw = &bytes[line.from.into()..line.to.into()];
        if matches!(raw, [b' ' | b'\t', ..]) {
            return self.continue_field(bytes, line);
        }
        let length = raw.iter().position(|byte| !is_token(*byte)).unwrap_or(raw.len());
        let gap = raw[length..].iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        if length == 0 || raw.get(length + gap) != Some(&b':') {
            return self.fail(ParseError::HeaderLine);
        }
        if self.headers.len() == HEADERS_MAX {
            return self.fail(ParseError::TooManyHeaders);
        }
        let name = Name::lookup(&raw[..length]);
        let label = Span::new(line.from.into(), usize::from(line.from) + length);
        let value = Span::trimmed(bytes, usize::from(line.from) + length + gap + 1, line.to.into());
        self.headers.push(Field { name, label, value });
    }

    fn continue_field(&mut self, bytes: &[u8], line: Span) {
        self.folded = true;
        match self.headers.last_mut() {
            Some(field) => field.value = Span::trimmed(bytes, field.value.from.into(), line.to.into()),
            None => self.fail(ParseError::HeaderLine),
        }
    }

    fn into_message(mut self, bytes: Bytes, framing: Framing) -> Result<Message, Malformed> {
        let end = self.end.unwrap_or_else(|| bytes.len().min(HEAD_MAX));
        if self.end.is_none() {
            self.fail(if bytes.len() > HEAD_MAX { ParseError::HeadTooLong } else { ParseError::NoEnd });
        }
        let bytes = if self.folded { unfold(&bytes, end, &self.headers) } else { bytes };
        let mut message =
            Message { bytes, start: self.start, headers: self.headers, core: Core::default(), body: end };
        let core = message.check_core();
        let checks = [self.error, core.err(), message.check_fields().err(), message.cut_body(framing).err()];
        let Some(error) = checks.into_iter().flatten().next() else { return Ok(message) };
        let (answerable, announced) = (message.is_answerable(), message.announced());
        Err(Malformed { error, understood: answerable.then(|| Box::new(message)), announced })
    }
}

impl Message {
    /// Finds and checks what every message must have (RFC 3261 §8.1.1). Fills in as much as there is.
    fn check_core(&mut self) -> Result<(), ParseError> {
        let via = self.check_vias();
        let call_id = self.check_call_id();
        let from = self.check_address(Name::From).map(|tag| self.core.from_tag = tag);
        let to = self.check_address(Name::To).map(|tag| self.core.to_tag = tag);
        let cseq = self.check_cseq();
        let single = self.check_single();
        via.and(call_id).and(from).and(to).and(single).and(cseq)
    }

    fn check_vias(&mut self) -> Result<(), ParseError> {
        let mut top = None;
        for value in self.headers(Name::Via) {
            let mut rest = Some(value);
            while let Some(value) = rest {
                let (via, next) = Via::parse(value).ok_or(ParseError::Field("Via"))?;
                top.get_or_insert_with(|| self.span_of(via.branch().unwrap_or("").as_bytes()));
                rest = next;
            }
        }
        self.core.branch = top.ok_or(ParseError::Missing("Via"))?;
        Ok(())
    }

    fn check_call_id(&mut self) -> Result<(), ParseError> {
        let value = self.header(Name::CallId).ok_or(ParseError::Missing("Call-ID"))?;
        // `word` is wide; what cannot be in it is white space and what is no ASCII.
        if value.is_empty() || !value.iter().all(u8::is_ascii_graphic) {
            return Err(ParseError::Field("Call-ID"));
        }
        self.core.call_id = self.span_of(value);
        Ok(())
    }

    fn check_address(&self, name: Name) -> Result<Span, ParseError> {
        let value = self.header(name).ok_or(ParseError::Missing(name.as_str()))?;
        let address = NameAddr::parse(value).ok_or(ParseError::Field(name.as_str()))?;
        Ok(self.span_of(address.tag().unwrap_or("").as_bytes()))
    }

    fn check_cseq(&mut self) -> Result<(), ParseError> {
        let value = self.header(Name::CSeq).ok_or(ParseError::Missing("CSeq"))?;
        let (number, method) = parse_cseq(value).ok_or(ParseError::Field("CSeq"))?;
        let same = !self.is_request() || method == self.method_text();
        let span = self.span_of(method.as_bytes());
        self.core.cseq = number;
        self.core.cseq_method = span;
        if same { Ok(()) } else { Err(ParseError::MethodMismatch) }
    }

    fn check_single(&self) -> Result<(), ParseError> {
        for (place, field) in self.headers.iter().enumerate() {
            if field.name.is_single() && self.headers[..place].iter().any(|other| other.name == field.name) {
                return Err(ParseError::Repeated(field.name.as_str()));
            }
        }
        Ok(())
    }

    /// Checks the fields that are optional, where they are there.
    fn check_fields(&self) -> Result<(), ParseError> {
        for field in &self.headers {
            let value = self.slice(field.value);
            #[expect(
                clippy::wildcard_enum_match_arm,
                reason = "of a hundred fields these are the ones that are read"
            )]
            let valid = match field.name {
                Name::MaxForwards => parse_number(value, 255).is_some(),
                Name::Expires => parse_number(value, u32::MAX.into()).is_some(),
                Name::Contact => value == b"*" || NameAddr::list_is_valid(value),
                Name::Route | Name::RecordRoute => NameAddr::list_is_valid(value),
                _ => true,
            };
            if !valid {
                return Err(ParseError::Field(field.name.as_str()));
            }
        }
        match (self.is_request(), Uri::parse(self.uri_text().as_bytes())) {
            (false, _) => Ok(()),
            (true, _) if self.uri_text().len() > URI_MAX => Err(ParseError::UriTooLong),
            (true, Ok(uri)) if !uri.has_headers() => Ok(()),
            (true, _) => Err(ParseError::RequestUri),
        }
    }

    fn content_length(&self) -> Result<Option<usize>, ParseError> {
        let Some(value) = self.header(Name::ContentLength) else { return Ok(None) };
        let length = parse_number(value, u64::MAX).ok_or(ParseError::Field("Content-Length"))?;
        usize::try_from(length).map(Some).map_err(|_| ParseError::Field("Content-Length"))
    }

    fn cut_body(&mut self, framing: Framing) -> Result<(), ParseError> {
        let there = self.bytes.len() - self.body;
        let length = match (self.content_length()?, framing) {
            (Some(length), _) => length,
            (None, Framing::Datagram) => there,
            (None, Framing::Stream) => return Err(ParseError::Missing("Content-Length")),
        };
        if length > BODY_MAX {
            return Err(ParseError::BodyTooLong);
        }
        if length > there {
            return Err(ParseError::BodyTooShort);
        }
        self.bytes.truncate(self.body + length);
        Ok(())
    }

    fn announced(&self) -> Option<usize> {
        let once = self.headers(Name::ContentLength).count() == 1;
        self.content_length().ok().flatten().filter(|length| once && *length <= BODY_MAX)
    }

    /// A response needs the topmost Via's sent-by, and From, To, Call-ID and CSeq to copy.
    fn is_answerable(&self) -> bool {
        let copied = [Name::From, Name::To, Name::CallId, Name::CSeq];
        self.is_request()
            && self.method() != Method::Ack
            && self.via().is_some() | self.header(Name::Via).is_some_and(sent_by_is_readable)
            && copied.into_iter().all(|name| self.header(name).is_some())
    }

    fn span_of(&self, part: &[u8]) -> Span {
        if part.is_empty() {
            return Span::default();
        }
        let from = part.as_ptr() as usize - self.bytes.as_ptr() as usize;
        Span::new(from, from + part.len())
    }
}

/// Whether a Via that is malformed further on still says who sent it.
fn sent_by_is_readable(value: &[u8]) -> bool {
    let head = value.split(|byte| matches!(byte, b';' | b',')).next();
    head.is_some_and(|head| Via::parse(head).is_some())
}

impl Span {
    /// Offsets are below [`HEAD_MAX`], which the lexer keeps to.
    fn new(from: usize, to: usize) -> Self {
        let narrow = |offset| u16::try_from(offset).unwrap_or(u16::MAX);
        Self { from: narrow(from), to: narrow(to) }
    }

    fn trimmed(bytes: &[u8], from: usize, to: usize) -> Self {
        let raw = &bytes[from..to];
        let kept = trim(raw);
        let lead = raw.len() - raw.trim_ascii_start().len();
        let from = if kept.is_empty() { to } else { from + lead };
        Self::new(from, from + kept.len())
    }
}

/// Cuts lines; the first fault is kept, and lexing goes on past it.
#[derive(Debug)]
struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
    error: Option<ParseError>,
}

impl Lines<'_> {
    /// The next line without its end; `None` when no line end follows.
    fn next(&mut self) -> Option<Span> {
        let from = self.at;
        let rest = &self.bytes[from..];
        let length = memchr::memchr(b'\n', rest);
        let line = &rest[..length.unwrap_or(rest.len())];
        let crlf = line.last() == Some(&b'\r');
        // No branch for each byte: nearly every line is clean.
        let text = line.strip_suffix(b"\r").unwrap_or(line);
        if text.iter().fold(false, |found, byte| found | (*byte < b' ' && *byte != b'\t') | (*byte == 0x7f)) {
            self.check(line);
        }
        let length = length?;
        if !crlf {
            self.error.get_or_insert(ParseError::LineEnd);
        }
        self.at = from + length + 1;
        Some(Span::new(from, from + length - usize::from(crlf)))
    }

    fn check(&mut self, line: &[u8]) {
        let mut previous = 0;
        for byte in line.iter().copied() {
            if previous == b'\r' {
                self.error.get_or_insert(ParseError::LineEnd);
            }
            // A quoted pair may hold any but CR and LF (RFC 3261 §25.1).
            let control = byte.is_ascii_control() && !matches!(byte, b'\t' | b'\r');
            if control && previous != b'\\' {
                self.error.get_or_insert(ParseError::ControlCharacter);
            }
            previous = byte;
        }
    }
}

/// `None`: not SIP at all. Otherwise as much as there is, and what is wrong with it.
fn lex_start(bytes: &[u8], line: Span) -> Option<(Start, Option<ParseError>)> {
    let raw = &bytes[line.from.into()..line.to.into()];
    if raw.len() > 4 && raw[..4].eq_ignore_ascii_case(b"SIP/") {
        return Some(lex_status(raw));
    }
    let words = || raw.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    let method = words().next().filter(|method| method.iter().copied().all(is_token))?;
    let version = words().next_back().filter(|version| is_version(version))?;
    let offset = |part: &[u8]| part.as_ptr() as usize - raw.as_ptr() as usize;
    let uri_from = offset(method) + method.len();
    let uri = raw.get(uri_from..offset(version)).map(trim)?;
    let uri_from = if uri.is_empty() { 0 } else { offset(uri) };
    let exact =
        raw.len() == method.len() + uri.len() + version.len() + 2 && !uri.is_empty() && !uri.contains(&b' ');
    let error = match exact {
        false => Some(ParseError::RequestLine),
        true if !version.eq_ignore_ascii_case(b"SIP/2.0") => Some(ParseError::Version),
        true => None,
    };
    let name = Span::new(0, method.len());
    let uri = Span::new(uri_from, uri_from + uri.len());
    Some((Start::Request { method: Method::lookup(method), name, uri }, error))
}

/// `SIP/1*DIGIT.1*DIGIT`
fn is_version(word: &[u8]) -> bool {
    let digits = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
    let Some((b"/", numbers)) = word.get(3..).and_then(|rest| rest.split_at_checked(1)) else { return false };
    let mut parts = numbers.splitn(2, |byte| *byte == b'.');
    word[..3].eq_ignore_ascii_case(b"SIP")
        && parts.next().is_some_and(digits)
        && parts.next().is_some_and(digits)
}

fn lex_status(raw: &[u8]) -> (Start, Option<ParseError>) {
    let mut words = raw.splitn(3, |byte| *byte == b' ');
    let version = words.next().unwrap_or(&[]);
    let digits = words.next().filter(|digits| digits.len() == 3).unwrap_or(&[]);
    let code = text(digits).and_then(|digits| digits.parse().ok()).filter(|code| (100..700).contains(code));
    let reason = words.next().unwrap_or(&[]);
    let error = match code {
        None => Some(ParseError::StatusLine),
        Some(_) if !version.eq_ignore_ascii_case(b"SIP/2.0") => Some(ParseError::Version),
        Some(_) => None,
    };
    let reason = Span::new(raw.len() - reason.len(), raw.len());
    (Start::Response { code: code.unwrap_or(0), reason }, error)
}

/// A copy in which the line ends inside of values are spaces; all offsets stay.
fn unfold(bytes: &Bytes, end: usize, headers: &[Field]) -> Bytes {
    let mut copy = BytesMut::from(&bytes[..]);
    for field in headers {
        let value = &mut copy[..end][field.value.from.into()..field.value.to.into()];
        value.iter_mut().filter(|byte| matches!(byte, b'\r' | b'\n')).for_each(|byte| *byte = b' ');
    }
    copy.freeze()
}

#[cfg(test)]
mod tests;
