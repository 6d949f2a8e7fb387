//! SIP without I/O: wire, URIs, transactions, dialogs, session descriptions.
