//! Both programs' types are known by the names of their fields, so that journals show them and a change of one is seen.

#[test]
fn no_type_of_the_programs_is_opaque() {
    for (program, kinds) in [("server", arena::server::kinds()), ("bots", arena::bots::kinds())] {
        let catalogue = kinds.seal().expect("the kinds are sound");
        assert_eq!(catalogue.opaque().collect::<Vec<_>>(), [], "{program}");
    }
}
