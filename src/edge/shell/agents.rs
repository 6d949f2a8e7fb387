//! What an engine says of agents: of their telephones, and of the queues that they serve.

use std::time::Duration;

use call::engine::StationNews;
use tracing::{error, info, warn};

use super::{Core, Shared, now};

/// How queues stand is looked at so often.
const FLOORS_EVERY: Duration = Duration::from_secs(1);

/// Shows how queues stand, as long as there are any.
pub(super) async fn watch_floors(core: Shared) {
    let mut interval = tokio::time::interval(FLOORS_EVERY);
    loop {
        interval.tick().await;
        let core = core.borrow();
        let now = now();
        core.observed.floors.show(core.neighbours.place(), core.engine.queues(now), now);
    }
}

impl Core {
    pub(super) fn station_news(&self, news: StationNews) {
        match &news {
            StationNews::Came(station) => info!("{station} is registered"),
            StationNews::Went(station) => info!("{station} is registered no more"),
            StationNews::Banned { address, until } => {
                warn!(%address, %until, "banned: it guesses passwords of stations");
            }
            StationNews::Emergency { station, number, call_id, is_carried: true } => {
                warn!(call_id, "{station} calls {number} for help");
            }
            StationNews::Emergency { station, number, call_id, is_carried: false } => {
                error!(call_id, "{station} calls {number} for help, and no trunk of its tenant carries that");
            }
            StationNews::Lifted { address } => info!(%address, "the ban is lifted"),
            StationNews::Told { what, is_bad: true } => warn!("{what}"),
            StationNews::Told { what, is_bad: false } => info!("{what}"),
        }
        self.observed.station_news(news);
    }
}
