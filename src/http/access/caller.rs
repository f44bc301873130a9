//! What may whoever asks do to this stream? The handlers' side of the question; `auth::policy` answers it.

use std::net::IpAddr;
use std::sync::Arc;

use factum_storage::StreamName;
use http::Extensions;
use http::request::Parts;

use crate::aggregate::stream_of;
use crate::auth::policy::Action;
use crate::auth::policy::Denied;
use crate::auth::policy::Patterns;
use crate::auth::policy::Principal;
use crate::auth::policy::Target;
use crate::auth::policy::decide;
use crate::http::App;
use crate::http::problem::Problem;
use crate::http::problem::Slug;

/// What goes with a request: where it comes from, and who has sent it once that was found out. Both in one, because the map of what goes
/// with a request has room for three things before it has to grow.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sender {
    address: Option<IpAddr>,
    principal: Option<Arc<Principal>>,
}

impl Sender {
    /// Somebody whom nobody has asked who they are.
    pub(crate) fn at(address: IpAddr) -> Self {
        Self { address: Some(address), principal: None }
    }

    /// Where a request comes from, if that is known.
    pub(crate) fn address(extensions: &Extensions) -> Option<IpAddr> {
        extensions.get::<Self>()?.address
    }

    /// Remembers whose token came with a request.
    pub(super) fn found(extensions: &mut Extensions, principal: &Arc<Principal>) {
        extensions.get_or_insert_default::<Self>().principal = Some(Arc::clone(principal));
    }
}

/// Who asks.
#[derive(Clone, Debug)]
pub(crate) enum Caller {
    /// There is no authentication: everybody may do everything but write to streams of the system.
    Everybody,
    /// Somebody whose token was checked.
    Principal(Arc<Principal>),
    /// Nobody has checked who it is, though somebody should have.
    Nobody,
}

impl Caller {
    /// Who has sent this request.
    pub(crate) fn of(app: &App, parts: &Parts) -> Self {
        if app.auth.is_none() {
            return Self::Everybody;
        }
        let principal = parts.extensions.get::<Sender>().and_then(|sender| sender.principal.as_ref());
        principal.map_or(Self::Nobody, |principal| Self::Principal(Arc::clone(principal)))
    }

    /// Whether events of this stream may be shown.
    pub(crate) fn sees(&self, stream: &str) -> bool {
        match self {
            Self::Everybody => true,
            Self::Principal(principal) => decide(principal, Action::Read, Target::Stream(stream)).is_ok(),
            Self::Nobody => false,
        }
    }

    /// The streams that it is for, if they are not all: what is shown must be looked at one by one.
    pub(crate) fn narrowed_to(&self) -> Option<&Patterns> {
        match self {
            Self::Everybody => None,
            Self::Principal(principal) => Some(&principal.streams).filter(|streams| !streams.are_all()),
            Self::Nobody => Some(&NO_STREAMS),
        }
    }

    fn decide(&self, action: Action, target: Target<'_>) -> Result<(), Problem> {
        match self {
            Self::Everybody => Ok(()),
            Self::Principal(principal) => decide(principal, action, target).map_err(|why| denied(&why)),
            Self::Nobody => Err(super::unauthenticated()),
        }
    }

    /// Checks that what is asked for may be told to who may read all streams alone.
    ///
    /// # Errors
    ///
    /// 403 for a token that is for some streams only.
    pub(crate) fn reads_all(&self) -> Result<(), Problem> {
        self.decide(Action::Read, Target::Whole)
    }
}

/// Who may read where. Says the same whether or not the stream exists.
///
/// # Errors
///
/// 403 for who may not.
pub(crate) fn authorise_read(caller: &Caller, stream: &StreamName) -> Result<(), Problem> {
    caller.decide(Action::Read, Target::Stream(stream.as_str()))
}

/// Who may write where. Says the same whether or not the stream exists.
///
/// # Errors
///
/// 403 for streams of the system, and for who may not.
pub(crate) fn authorise_write(caller: &Caller, stream: &StreamName) -> Result<(), Problem> {
    if stream.is_system() {
        return Err(crate::Error::SystemStream { stream: stream.as_str().to_owned() }.into());
    }
    caller.decide(Action::Append, Target::Stream(stream.as_str()))
}

/// The stream of an aggregate, for who may read it.
///
/// # Errors
///
/// 400 for what can't be one's name, 403 for who may not.
pub(crate) fn authorise_aggregate(caller: &Caller, category: &str, id: &str) -> Result<StreamName, Problem> {
    let stream = stream_of(category, id).map_err(|(field, detail)| Problem::malformed(field, detail))?;
    authorise_read(caller, &stream)?;
    Ok(stream)
}

/// Who may share the work of a consumer group: who may read everything that it can ever give out. A group that is not there is told from
/// one that is not theirs by nobody else.
///
/// # Errors
///
/// 403 for who may not; what the group's status says.
pub(crate) async fn authorise_group(app: &App, caller: &Caller, name: &str) -> Result<(), Problem> {
    let Some(patterns) = caller.narrowed_to() else { return Ok(()) };
    let status = app.database.subscription_status(name).await.ok();
    let prefix = status.and_then(|status| status.terms.filter.stream_prefix.clone());
    match prefix {
        Some(prefix) if patterns.cover(&prefix) => Ok(()),
        Some(_) | None => Err(denied(&Denied::Narrowed)),
    }
}

/// Who may end a stream or thin it out.
///
/// # Errors
///
/// 403 for streams of the system, and for who may not.
pub(crate) fn authorise_ends(caller: &Caller, stream: &StreamName) -> Result<(), Problem> {
    if stream.is_system() {
        return Err(crate::Error::SystemStream { stream: stream.as_str().to_owned() }.into());
    }
    caller.decide(Action::Administer, Target::Whole)
}

/// Who may read streams of the system.
///
/// # Errors
///
/// 403 for who may not.
pub(crate) fn authorise_system_read(caller: &Caller) -> Result<(), Problem> {
    caller.decide(Action::Administer, Target::Whole)
}

/// The 403 that says what is missing.
pub(crate) fn denied(why: &Denied) -> Problem {
    match why {
        Denied::Scope(scope) => {
            Problem::new(Slug::Forbidden, format!("the token lacks the scope {scope}")).with_text("scope", scope.as_str())
        }
        Denied::Stream => Problem::new(Slug::Forbidden, "the token is for other streams than this"),
        Denied::Narrowed => Problem::new(
            Slug::Forbidden,
            "the token is for some streams only, and this is about all of them: it takes a token without a claim `streams`",
        ),
        Denied::System => Problem::new(Slug::Forbidden, "streams whose name begins with $ belong to the system"),
    }
}

static NO_STREAMS: std::sync::LazyLock<Patterns> =
    std::sync::LazyLock::new(|| Patterns::parse(std::iter::empty::<&str>()).unwrap_or_default());
