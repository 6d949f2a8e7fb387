//! Who calls, through whom, and as whom callees see them (RFC 3323, RFC 3325, RFC 5806, RFC 7044).

use model::{
    E164, TrunkId,
    snapshot::Trunk,
    trunk::{CallerIdPolicy, NumberFormats},
};
use sip::{
    endpoint::Header,
    header::NameAddr,
    uri::unescape,
    wire::{Message, Name},
};
use stir::Verstat;

use crate::signing::Whose;

/// Most diversions that a call may have behind it; one that was handed on more often goes round.
pub const HOPS_MAX: u32 = 10;

/// How often a number may have diverted a call that comes to it once more.
const RETURNS_MAX: usize = 2;

/// Most entries of Diversion or History-Info that are looked at and handed on.
const ENTRIES_MAX: usize = 20;

/// Who calls, as an INVITE of a trunk says it. A trunk is trusted by being listed, so what it asserts holds (RFC 3325
/// §6).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// In E.164 if the trunk writes it so that it can be read, else as it was sent. Empty if withheld.
    pub number: String,
}

/// Through whom a call came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diverted {
    /// Who diverted it, the first one first, as far as they are numbers.
    pub by: Vec<E164>,
    /// How often it was diverted.
    pub hops: u32,
    /// Values of Diversion, topmost first.
    pub diversions: Vec<String>,
    /// Values of History-Info, topmost first.
    pub history: Vec<String>,
}

impl Identity {
    /// P-Asserted-Identity, else Remote-Party-ID, else From.
    #[must_use]
    pub fn of(invite: &Message, formats: &NumberFormats) -> Self {
        if is_private(invite) {
            return Self::default();
        }
        let asserted = invite.addresses(Name::PAssertedIdentity).find_map(|address| number(&address));
        let party = || {
            values(invite, "Remote-Party-ID").find_map(|address| {
                let calling =
                    address.params.get("party").is_none_or(|party| party.eq_ignore_ascii_case("calling"));
                number(&address).filter(|_| calling)
            })
        };
        let from = || invite.from().and_then(|from| number(&from));
        let sent = asserted.or_else(party).or_else(from).unwrap_or_default();
        let withheld = ["anonymous", "unavailable", "restricted", "unknown"];
        if withheld.iter().any(|word| sent.eq_ignore_ascii_case(word)) {
            return Self::default();
        }
        Self { number: formats.read(&sent).map_or(sent, |number| number.to_string()) }
    }
}

/// Whether the caller wants to be known to nobody (RFC 3323 §4.2, RFC 3325 §9.3; the draft that Remote-Party-ID is of).
fn is_private(invite: &Message) -> bool {
    let asks = |value: &[u8]| {
        let text = String::from_utf8_lossy(value).to_ascii_lowercase();
        text.split([';', ',']).any(|word| matches!(word.trim(), "id" | "user" | "header"))
    };
    invite.headers(Name::Privacy).any(asks)
        || values(invite, "Remote-Party-ID").any(|address| {
            address.params.get("privacy").is_some_and(|wish| {
                ["full", "name", "uri"].iter().any(|word| wish.to_ascii_lowercase().starts_with(word))
            })
        })
}

impl Diverted {
    /// Of an INVITE.
    #[must_use]
    pub fn of(invite: &Message, formats: &NumberFormats) -> Self {
        let kept = |name: &'static str| {
            let fields = invite.all_named(name);
            let values = fields.filter_map(|value| Some(std::str::from_utf8(value).ok()?.trim().to_owned()));
            values.take(ENTRIES_MAX).collect::<Vec<_>>()
        };
        let numbers = |name: &'static str| {
            let addresses = values(invite, name).take(ENTRIES_MAX);
            addresses.filter_map(|address| formats.read(&number(&address)?)).collect::<Vec<_>>()
        };
        let times = |address: NameAddr<'_>| {
            let counter = address.params.get("counter").and_then(|counter| counter.parse::<u32>().ok());
            counter.unwrap_or(1).max(1)
        };
        // The latest diversion stands on top (RFC 5806 §3), the first target of a history does (RFC 7044 §5).
        let mut by = numbers("Diversion");
        by.reverse();
        let history = numbers("History-Info");
        if by.is_empty() && history.len() > 1 {
            by = history[..history.len() - 1].to_vec();
        }
        let diverted = values(invite, "Diversion").map(times).fold(0, u32::saturating_add);
        let told =
            u32::try_from(values(invite, "History-Info").count()).unwrap_or(u32::MAX).saturating_sub(1);
        Self { by, hops: diverted.max(told), diversions: kept("Diversion"), history: kept("History-Info") }
    }

    /// Whether a call to `dialled` goes round: code and reason, if so.
    #[must_use]
    pub fn goes_round(&self, dialled: Option<E164>) -> Option<(u16, String)> {
        if self.hops > HOPS_MAX {
            let because =
                format!("the call was diverted {} times, and more than {HOPS_MAX} are a circle", self.hops);
            return Some((483, because));
        }
        let dialled = dialled?;
        let times = self.by.iter().filter(|number| **number == dialled).count();
        (times >= RETURNS_MAX).then(|| {
            (482, format!("{dialled} has diverted this call {times} times already: it goes in a circle"))
        })
    }
}

/// Addresses of a field that has no name of its own.
fn values<'a>(invite: &'a Message, name: &'static str) -> impl Iterator<Item = NameAddr<'a>> {
    invite.all_named(name).flat_map(NameAddr::list)
}

fn number(address: &NameAddr<'_>) -> Option<String> {
    let user = address.uri.user.filter(|user| !user.is_empty())?;
    let user = unescape(user);
    Some(user.split(';').next().unwrap_or_default().to_owned())
}

/// A call as its callees are told of it.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'a> {
    /// Number, or empty if withheld.
    pub number: &'a str,
    /// Number that the caller dialled: the tenant's own. None: a phone of the tenant calls, which shows what the call is to
    /// show and nothing else.
    pub dialled: Option<E164>,
    /// Phone of the tenant that calls: as it registers, and the name of its agent.
    pub phone: Option<(&'a str, &'a str)>,
    /// Phone of the tenant that hands the caller on, as it registers.
    pub referred_by: Option<&'a str>,
    /// The tenant's namespace.
    pub tenant: &'a str,
    /// Through whom the call came.
    pub diverted: &'a Diverted,
    /// What is known of whether the number is theirs. None: nobody asked.
    pub verstat: Option<Verstat>,
    /// Values of Identity that go on with it where it is handed on.
    pub identities: &'a [String],
    /// Whether the agent who is called has asked for it, or works for the queue that it came by: the telephone may answer by
    /// itself.
    pub is_expected: bool,
}

/// What an INVITE says of who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Name-addr of From.
    pub from: String,
    /// P-Asserted-Identity, Privacy, Diversion, History-Info, Identity.
    pub headers: Vec<Header>,
    /// The number that is shown, for signatures. None: none is.
    pub number: Option<(E164, Whose)>,
    /// Why no number is shown although there is one, as a sentence.
    pub told: Option<String>,
}

/// A caller as an agent's phone sees it: as they came, or as another phone that can be called back.
#[must_use]
pub fn to_station(caller: Caller<'_>, domain: &str) -> Shown {
    let referred = caller.referred_by.map(|user| format!("<sip:{user}@{domain}>"));
    let referred = referred.map(|by| Header::new("Referred-By", by));
    let Some((user, name)) = caller.phone else {
        let parameter = caller.verstat.map(|verstat| format!(";verstat={verstat}")).unwrap_or_default();
        let mut headers = asserted(caller.number, &parameter, domain);
        headers.extend(referred);
        let from = with_parameter(caller.number, &parameter, domain);
        return Shown { headers, from, number: None, told: None };
    };
    let plain: String = name.chars().filter(|c| !matches!(c, '"' | '\\') && !c.is_control()).collect();
    let from = format!("\"{plain}\" <sip:{user}@{domain}>");
    let headers = vec![Header::new("P-Asserted-Identity", from.clone())];
    Shown { headers, from, number: None, told: None }
}

/// A caller as the PBX behind a trunk sees it: as they came.
#[must_use]
pub fn to_extension(trunk: &Trunk, caller: Caller<'_>, host: &str) -> Shown {
    let number = written(caller.number, &trunk.number_formats);
    let parameter = caller.verstat.map(|verstat| format!(";verstat={verstat}")).unwrap_or_default();
    Shown {
        headers: asserted(&number, &parameter, host),
        from: with_parameter(&number, &parameter, host),
        number: None,
        told: None,
    }
}

/// A caller as the public network behind a trunk sees it: by its policy. `wanted` is what the step, or the tenant, wants
/// to show.
#[must_use]
pub fn to_number(
    (id, trunk): (&TrunkId, &Trunk),
    caller: Caller<'_>,
    wanted: Option<E164>,
    (host, request_uri): (&str, &str),
) -> Shown {
    let formats = &trunk.number_formats;
    if let (CallerIdPolicy::Forwarded, Some(_)) = (trunk.caller_id_policy, caller.dialled) {
        let number = written(caller.number, formats);
        let mut headers = asserted(&number, "", host);
        headers.extend(forwarded(caller, formats, (host, request_uri)));
        let shown = caller.number.parse().ok().map(|number| (number, Whose::Passed));
        // Whoever withholds a number does not have it told by the signature.
        let identities = caller.identities.iter().filter(|_| shown.is_some());
        headers.extend(identities.map(|value| Header::new("Identity", value.as_str())));
        return Shown { from: identity(&number, host), headers, number: shown, told: None };
    }
    let granted =
        wanted.into_iter().chain(caller.dialled).find(|number| grants(id, trunk, caller.tenant, *number));
    let number = granted.map(|number| formats.write(number)).unwrap_or_default();
    let told = granted.is_none().then(|| match caller.dialled {
        Some(dialled) => {
            format!(
                "Trunk {id} grants neither the caller id nor {dialled} to {}, so no number is shown",
                caller.tenant
            )
        }
        None => format!(
            "Trunk {id} grants no number to {} that the phone may show, so none is shown",
            caller.tenant
        ),
    });
    Shown {
        headers: asserted(&number, "", host),
        from: identity(&number, host),
        number: granted.map(|shown| (shown, whose(trunk, caller, shown))),
        told,
    }
}

/// Whether a number that a tenant may show is theirs for all that we know.
fn whose(trunk: &Trunk, caller: Caller<'_>, number: E164) -> Whose {
    let live = Some(number) == caller.dialled;
    let granted = trunk
        .grants
        .iter()
        .any(|grant| grant.namespace == caller.tenant && grant.first <= number && number <= grant.last);
    if live || granted { Whose::Theirs } else { Whose::Claimed }
}

/// Whether a tenant may show a number on a trunk. Its own trunk shows what it likes.
fn grants(id: &TrunkId, trunk: &Trunk, tenant: &str, number: E164) -> bool {
    let fits = |grant: &model::snapshot::Grant| {
        grant.namespace == tenant && grant.first <= number && number <= grant.last
    };
    id.0.namespace() == tenant || trunk.grants.iter().any(fits)
}

fn written(number: &str, formats: &NumberFormats) -> String {
    number.parse().map_or_else(|_| number.to_owned(), |number: E164| formats.write(number))
}

/// Nobody is asserted who is not known, and who is not known wants it so.
fn asserted(number: &str, parameter: &str, host: &str) -> Vec<Header> {
    if is_plain(number) {
        vec![Header::new("P-Asserted-Identity", with_parameter(number, parameter, host))]
    } else {
        vec![Header::new("Privacy", "id")]
    }
}

/// What a call that is handed on has behind it, and the tenant's number with it.
fn forwarded(caller: Caller<'_>, formats: &NumberFormats, (host, request_uri): (&str, &str)) -> Vec<Header> {
    let diverter = caller.dialled.map(|dialled| identity(&formats.write(dialled), host));
    let diverter = diverter.map(|diverter| format!("{diverter};reason=unconditional;counter=1"));
    let mut headers: Vec<Header> =
        diverter.into_iter().map(|diverter| Header::new("Diversion", diverter)).collect();
    headers.extend(caller.diverted.diversions.iter().map(|value| Header::new("Diversion", value.as_str())));
    let history = &caller.diverted.history;
    headers.extend(history.iter().map(|value| Header::new("History-Info", value.as_str())));
    // RFC 7044 §10.1: the new target hangs from the last one.
    let last = history.last().and_then(|last| NameAddr::list(last.as_bytes()).last());
    if let Some(index) = last.and_then(|last| last.params.get("index").map(str::to_owned)) {
        headers.push(Header::new("History-Info", format!("<{request_uri}>;index={index}.1;mp={index}")));
    }
    headers
}

/// A withheld or unprintable number is anonymous (RFC 3323 §4.1).
#[must_use]
pub fn identity(number: &str, host: &str) -> String {
    with_parameter(number, "", host)
}

/// The same, with a parameter of the number.
fn with_parameter(number: &str, parameter: &str, host: &str) -> String {
    if !is_plain(number) {
        return "\"Anonymous\" <sip:anonymous@anonymous.invalid>".into();
    }
    // RFC 3261 §25.1: `#` is no character of a user part.
    format!("<sip:{}{parameter}@{host}>", number.replace('#', "%23"))
}

fn is_plain(number: &str) -> bool {
    !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-_.*#".contains(&byte))
}

#[cfg(test)]
mod tests;
