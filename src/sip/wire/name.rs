//! Methods and header names that this crate knows, long and compact.

/// A request method. Methods are case-sensitive (RFC 3261 §7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// RFC 3261 §13.
    Invite,
    /// RFC 3261 §13.
    Ack,
    /// RFC 3261 §15.
    Bye,
    /// RFC 3261 §9.
    Cancel,
    /// RFC 3261 §11.
    Options,
    /// RFC 6086.
    Info,
    /// RFC 3311.
    Update,
    /// RFC 3261 §10.
    Register,
    /// RFC 3262.
    Prack,
    /// RFC 6665.
    Subscribe,
    /// RFC 6665.
    Notify,
    /// RFC 3515.
    Refer,
    /// RFC 3428.
    Message,
    /// RFC 3903.
    Publish,
    /// Any other; [`super::Message::method_text`] has it.
    Other,
}

impl Method {
    const KNOWN: [Self; 14] = [
        Self::Invite,
        Self::Ack,
        Self::Bye,
        Self::Cancel,
        Self::Options,
        Self::Info,
        Self::Update,
        Self::Register,
        Self::Prack,
        Self::Subscribe,
        Self::Notify,
        Self::Refer,
        Self::Message,
        Self::Publish,
    ];

    /// As it stands in a request line; empty for [`Method::Other`].
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Invite => "INVITE",
            Self::Ack => "ACK",
            Self::Bye => "BYE",
            Self::Cancel => "CANCEL",
            Self::Options => "OPTIONS",
            Self::Info => "INFO",
            Self::Update => "UPDATE",
            Self::Register => "REGISTER",
            Self::Prack => "PRACK",
            Self::Subscribe => "SUBSCRIBE",
            Self::Notify => "NOTIFY",
            Self::Refer => "REFER",
            Self::Message => "MESSAGE",
            Self::Publish => "PUBLISH",
            Self::Other => "",
        }
    }

    pub(crate) fn lookup(text: &[u8]) -> Self {
        let known = Self::KNOWN.into_iter().find(|method| method.as_str().as_bytes() == text);
        known.unwrap_or(Self::Other)
    }
}

macro_rules! names {
    ($($variant:ident $long:literal $($compact:literal)?;)*) => {
        /// A header field name. Names are not case-sensitive (RFC 3261 §7.3.1).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[expect(missing_docs, reason = "the names speak for themselves")]
        pub enum Name {
            $($variant,)*
            /// Any other; see [`super::Message::named`].
            Other,
        }

        impl Name {
            /// The long form; empty for [`Name::Other`].
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $long,)*
                    Self::Other => "",
                }
            }

            pub(crate) fn lookup(text: &[u8]) -> Self {
                if let [letter] = text {
                    return match letter.to_ascii_lowercase() {
                        $($($compact => Self::$variant,)?)*
                        _ => Self::Other,
                    };
                }
                // The length tells nearly all of them apart before a letter is compared.
                $(if text.len() == $long.len() && text.eq_ignore_ascii_case($long.as_bytes()) {
                    return Self::$variant;
                })*
                Self::Other
            }
        }
    };
}

names! {
    Via "Via" b'v';
    From "From" b'f';
    To "To" b't';
    CallId "Call-ID" b'i';
    CSeq "CSeq";
    Contact "Contact" b'm';
    MaxForwards "Max-Forwards";
    ContentLength "Content-Length" b'l';
    ContentType "Content-Type" b'c';
    ContentEncoding "Content-Encoding" b'e';
    ContentDisposition "Content-Disposition";
    Route "Route";
    RecordRoute "Record-Route";
    Require "Require";
    ProxyRequire "Proxy-Require";
    Supported "Supported" b'k';
    Allow "Allow";
    Accept "Accept";
    Expires "Expires";
    Reason "Reason";
    RetryAfter "Retry-After";
    PAssertedIdentity "P-Asserted-Identity";
    PPreferredIdentity "P-Preferred-Identity";
    Privacy "Privacy";
    Diversion "Diversion";
    HistoryInfo "History-Info";
    Subject "Subject" b's';
    Event "Event" b'o';
    ReferTo "Refer-To" b'r';
    ReferredBy "Referred-By" b'b';
    AllowEvents "Allow-Events" b'u';
    AcceptContact "Accept-Contact" b'a';
    RequestDisposition "Request-Disposition" b'd';
    RejectContact "Reject-Contact" b'j';
    SessionExpires "Session-Expires" b'x';
    Identity "Identity" b'y';
    UserAgent "User-Agent";
    Server "Server";
    Warning "Warning";
    Date "Date";
    Authorization "Authorization";
    ProxyAuthorization "Proxy-Authorization";
    WwwAuthenticate "WWW-Authenticate";
    ProxyAuthenticate "Proxy-Authenticate";
    RSeq "RSeq";
    RAck "RAck";
    MinSe "Min-SE";
    Replaces "Replaces";
    Join "Join";
    TargetDialog "Target-Dialog";
    ReferSub "Refer-Sub";
    SubscriptionState "Subscription-State";
    Path "Path";
    ServiceRoute "Service-Route";
}

impl Name {
    /// Whether a second one is an error (RFC 3261 §7.3.1).
    pub(crate) const fn is_single(self) -> bool {
        matches!(
            self,
            Self::From
                | Self::To
                | Self::CallId
                | Self::CSeq
                | Self::MaxForwards
                | Self::ContentLength
                | Self::ContentType
                | Self::Expires
        )
    }
}
