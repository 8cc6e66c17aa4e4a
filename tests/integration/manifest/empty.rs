//! An egress without a route.

use crate::support::Place;

#[test]
fn an_empty_egress_allows_nothing_and_needs_no_sidecar() {
    for egress in ["", "extra_ca: [x.pem]"] {
        let place = Place::with(&format!(
            "bottles: {{ b: {{ egress: {{ {egress} }} }} }}\nagents: {{ a: {{ bottle: b, preset: shell }} }}\n"
        ));
        let compose = place.bottle(["render"]).run().ok();
        assert!(compose.contains("network_mode: none") && !compose.contains("egress"), "{compose}");
    }
}
