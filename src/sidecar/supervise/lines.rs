//! What an approval would add, without anybody who approves.

use super::config::Policies;
use super::preflight;
use crate::policy::ask::Ask;
use crate::policy::egress::EgressPolicy;
use crate::policy::gate::GatePolicy;

/// The lines for the manifest that allow what is asked for; none where no approval could.
pub(crate) fn lines(ask: &Ask, egress: Option<&EgressPolicy>, gate: Option<&GatePolicy>) -> Option<String> {
    let policies = Policies { egress: egress.cloned(), gate: gate.cloned(), digest: String::new() };
    preflight::rule(ask, &policies).ok().map(|rule| rule.manifest())
}
