//! What a tenant's phones may dial.

use std::{collections::BTreeMap, sync::Arc};

use api::v1alpha1 as v1;
use model::{
    Key, TenantId, TrunkId,
    centre::{Centre, ContactPoint, Dialling, PointKind},
    numbering::{self, CostClass, Country},
};

use crate::{
    problem::Reason,
    resources::Report,
    words,
    world::{Item, World},
};

/// Of each served tenant that has agents or sends SMS: nobody else reaches anybody.
pub(crate) fn of(
    world: &World,
    centre: &Centre,
    serves: &dyn Fn(&Key) -> bool,
) -> BTreeMap<TenantId, Arc<Dialling>> {
    let tenants = world.tenants.values().filter(|item| !item.draft && serves(&item.id.key));
    let is_sms = |point: &ContactPoint| matches!(point.kind, PointKind::Sms { .. });
    let dials = |namespace: &str| {
        let mut points = centre.contact_points.iter();
        centre.agents.keys().any(|agent| agent.0.namespace() == namespace)
            || points.any(|(id, point)| id.0.namespace() == namespace && is_sms(point))
    };
    let tenants = tenants.filter(|item| dials(item.namespace()));
    tenants.map(|item| (TenantId(item.id.key.clone()), Arc::new(compile(item, world)))).collect()
}

fn compile(item: &Item<v1::TenantSpec>, world: &World) -> Dialling {
    let spec = &item.spec;
    let rules = spec.dialling.as_ref();
    let countries = rules.map(|rules| rules.countries.as_slice()).unwrap_or_default();
    let mut countries = if countries.is_empty() { vec![spec.country.clone()] } else { countries.to_vec() };
    countries.sort_unstable();
    let classes =
        rules.map_or(&[v1::CostClass::Free, v1::CostClass::Normal][..], |rules| &rules.cost_classes);
    let mut cost_classes: Vec<CostClass> = classes.iter().copied().map(class).collect();
    cost_classes.sort_unstable();
    let mut emergency_numbers = rules.map(|rules| rules.emergency_numbers.clone()).unwrap_or_default();
    emergency_numbers.sort_unstable();
    let trunks = world.outbound.get(item.namespace()).map(Vec::as_slice).unwrap_or_default();
    Dialling {
        country: spec.country.clone(),
        countries,
        cost_classes,
        emergency_numbers,
        trunks: trunks.iter().cloned().map(TrunkId).collect(),
        default_caller_id: spec.default_caller_id.as_ref().and_then(|number| number.parse().ok()),
    }
}

const fn class(class: v1::CostClass) -> CostClass {
    match class {
        v1::CostClass::Free => CostClass::Free,
        v1::CostClass::Normal => CostClass::Normal,
        v1::CostClass::Premium => CostClass::Premium,
        v1::CostClass::Satellite => CostClass::Satellite,
    }
}

/// A tenant's rules: countries that there are, and a way of dialling that is known to whoever has phones.
pub(crate) fn check(item: &Item<v1::TenantSpec>, has_phones: bool, report: &mut Report) {
    let listed = item.spec.dialling.as_ref().map(|rules| rules.countries.as_slice()).unwrap_or_default();
    for (index, country) in listed.iter().enumerate().filter(|(_, country)| !numbering::is_country(country)) {
        let message = format!(
            "No telephone number is of `{}`: name countries by their ISO 3166-1 codes, such as US.",
            words::clip(country)
        );
        item.warning(report, &format!("spec.dialling.countries[{index}]"), Reason::UnknownCountry, message);
    }
    if has_phones && Country::of(&item.spec.country).is_none() {
        let message = format!(
            "How numbers are dialled in {} is not known: on phones of agents they must be dialled in E.164, such as +12125550100.",
            item.spec.country
        );
        item.warning(report, "spec.country", Reason::UnknownCountry, message);
    }
}
