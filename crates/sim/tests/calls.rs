//! What CI simulates.

#[test]
fn twenty_thousand_calls_violate_no_rule() {
    match sim::simulate(20_000, 0) {
        Ok(report) => println!("{report}"),
        Err(failure) => panic!("{failure}"),
    }
}
