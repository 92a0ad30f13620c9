//! Promise: a segment is a segment, whatever it is made of: every kind of it keeps every promise that it can keep.
//!
//! One test for each kind and promise: `shm::deaths::...`. Each plays on a stage of its own: a process with one thread,
//! which may fork others, and in which a promise may do as it likes. What a kind cannot do, it says by its
//! [features](backend::Feature), and one of the promises holds it to what it says.

#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "tests")]

mod common;
use common::process::{self, Child, say};
use nix::sys::prctl::set_pdeathsig;

#[path = "conformance/attachments.rs"]
mod attachments;
#[path = "conformance/backend.rs"]
mod backend;
#[path = "conformance/creation.rs"]
mod creation;
#[path = "conformance/deaths.rs"]
mod deaths;
#[path = "conformance/forks.rs"]
mod forks;
#[path = "conformance/hardships.rs"]
mod hardships;
#[path = "conformance/kills.rs"]
mod kills;
#[path = "conformance/names.rs"]
mod names;
#[path = "conformance/objects.rs"]
mod objects;
#[path = "conformance/observers.rs"]
mod observers;
#[path = "conformance/peer.rs"]
mod peer;
#[path = "conformance/records.rs"]
mod records;
#[path = "conformance/rings.rs"]
mod rings;
#[path = "conformance/streams.rs"]
mod streams;
#[path = "conformance/sysv.rs"]
mod sysv;
#[path = "conformance/turmoil.rs"]
mod turmoil;

use backend::{Backend, Feature};

/// What all kinds promise that have the features which it takes.
struct Promise {
    name: &'static str,
    takes: &'static [Feature],
    keep: fn(&dyn Backend),
}

/// Hands the table of promises to a macro: where they are kept, and what it takes to keep them.
macro_rules! with_promises {
    ($use:ident $($with:tt)*) => {
        $use! { $($with)*
            creation::features_tell_the_truth [];
            creation::create_is_exclusive [Name];
            creation::open_finds_what_open_or_create_has_made [Name];
            creation::of_many_that_come_at_once_one_creates [Creates Name Processes];
            creation::sizes_are_rounded_up_and_refused_with_a_reason [];
            creation::what_does_not_fit_leaves_nothing_behind [];
            creation::a_new_segment_introduces_itself [];
            creation::its_header_can_be_read_from_outside [Descriptor];
            objects::objects_are_found_by_name_type_and_shape [];
            objects::a_removed_object_is_kept_by_those_who_have_it_open [];
            objects::a_full_segment_says_so_and_can_be_emptied [];
            attachments::rows_run_out_and_come_back [];
            attachments::a_segment_is_detached_with_its_last_handle [];
            attachments::a_second_mapping_sees_the_same [];
            attachments::another_process_is_listed_until_it_detaches [Processes];
            rings::one_ring_connects_two_processes [Processes];
            rings::values_are_written_and_read_in_place_by_two_processes [Processes];
            streams::a_stream_arrives_in_order_and_ends [Processes];
            streams::what_a_dead_writer_committed_is_read_and_nothing_else [];
            streams::what_a_dead_reader_had_not_released_is_read_again [];
            streams::a_stream_survives_its_writers_and_readers [Processes];
            streams::files_are_copied_exactly_whoever_is_killed [Processes];
            records::records_arrive_whole_and_in_order [Processes];
            records::the_longest_record_fits_and_no_longer_one [Processes];
            records::records_lie_in_one_piece_in_a_trusted_segment [Processes];
            records::what_a_dead_sender_committed_arrives_whole [];
            records::what_a_dead_receiver_had_not_released_arrives_again [];
            records::records_survive_their_senders_and_receivers [Processes];
            deaths::the_killed_are_dead_and_their_rows_are_used_again [];
            deaths::the_openings_of_the_dead_are_closed [];
            deaths::what_a_dead_sender_committed_arrives_and_nothing_else [];
            deaths::what_a_dead_receiver_had_not_released_is_received_again [];
            deaths::a_stream_of_numbers_survives_its_senders [];
            deaths::whose_every_row_is_dead_can_still_be_attached [];
            deaths::a_zombie_is_dead_and_a_stopped_process_is_not [Processes];
            deaths::the_killed_are_dead_though_their_forked_children_live [Processes];
            deaths::after_exec_the_attachment_is_dead_though_the_process_lives [Processes];
            deaths::another_pid_namespace_changes_nothing [Processes];
            forks::in_a_forked_child_every_handle_refuses [];
            forks::a_forked_child_attaches_for_itself [Processes];
            names::a_temporary_segment_goes_with_its_last_attachment [Temporary];
            names::a_temporary_segment_of_the_dead_goes_with_the_next_one [Name Temporary];
            names::what_is_withdrawn_goes_unless_somebody_came [Creates Name];
            names::those_who_are_attached_keep_what_is_unlinked [Name];
            names::a_foreign_object_is_refused_and_left_alone [Content];
            names::what_was_truncated_is_refused_and_left_alone [Content Truncation];
            names::each_constant_of_the_header_is_checked [Content];
            names::the_mode_is_what_was_asked_for [Mode];
            names::another_user_is_denied [Mode];
            observers::an_observer_sees_everything_and_changes_nothing [Observers];
            observers::an_observer_is_refused_what_would_write [Observers];
            observers::nobody_waits_for_an_observer [Observers];
            observers::a_snapshot_is_equal_and_can_be_drained [];
            observers::flush_changes_nothing [];
            turmoil::those_who_come_and_go_are_not_disturbed_by_the_killed [Processes];
            turmoil::a_busy_segment_can_be_copied_and_disturbs_nobody [Processes];
            turmoil::whatever_word_is_overwritten_nobody_faults [Creates Content];
            hardships::without_descriptors_nothing_is_half_done [Processes];
            hardships::without_address_space_nothing_is_half_done [Processes];
            hardships::a_creation_that_fails_half_way_leaves_nothing [Creates Processes];
            hardships::closed_descriptors_take_nobodys_life [Processes];
            kills::a_creator_killed_at_any_system_call_leaves_nothing_or_a_segment [Creates Processes];
            kills::who_attaches_and_is_killed_at_any_system_call_leaves_a_row_at_most [Processes];
            kills::who_detaches_and_is_killed_at_any_system_call_leaves_a_row_at_most [Processes];
            kills::who_sweeps_and_is_killed_at_any_system_call_leaves_work_not_damage [Processes];
            kills::who_only_looks_and_is_killed_at_any_system_call_leaves_no_trace [Observers];
            kills::who_unlinks_and_is_killed_at_any_system_call_has_done_it_or_not [Name];
            kills::the_last_one_of_a_temporary_segment_killed_at_any_system_call_is_completed [Creates Name Temporary];
        }
    };
}

/// The table, for those who play.
macro_rules! table {
    ($($file:ident::$promise:ident [$($feature:ident)*];)*) => {
        const PROMISES: &[Promise] = &[$(Promise {
            name: concat!(stringify!($file), "::", stringify!($promise)),
            takes: &[$(Feature::$feature),*],
            keep: $file::$promise,
        }),*];
    };
}

/// The tests of one kind.
macro_rules! tests {
    ($kind:ident $($file:ident::$promise:ident [$($feature:ident)*];)*) => {
        mod $kind {
            $(
                #[test]
                fn $promise() {
                    $crate::play(stringify!($kind), concat!(stringify!($file), "::", stringify!($promise)));
                }
            )*
        }
    };
}

/// All kinds, and their tests.
macro_rules! kinds {
    ($($kind:ident: $make:expr;)*) => {
        const KINDS: &[(&str, fn() -> Box<dyn Backend>)] = &[$((stringify!($kind), || Box::new($make))),*];
        $(with_promises! { tests $kind })*
    };
}

with_promises! { table }
kinds! {
    heap: backend::Heap;
    shm: backend::Named::shm();
    file: backend::Named::file();
    memfd: backend::Memfd::default();
    huge_memfd: backend::Memfd::of_huge_pages();
    memfd_over_a_socket: backend::OverSocket;
    anonymous: backend::Anonymous;
    sysv_by_key: sysv::Keyed::by_number();
    sysv_by_path: sysv::Keyed::by_path();
    sysv_private: sysv::Private::default();
    shm_of_another: backend::OfAnother(backend::Named::shm());
    file_of_another: backend::OfAnother(backend::Named::file());
}

/// The stages of these tests: see `common::process`.
#[test]
fn child_entry() {
    process::as_child(&[("stage", stage)]);
}

/// Has one promise kept by one kind, on a stage of its own.
fn play(kind: &str, promise: &str) {
    let mut stage = Child::start("stage", &[kind, promise]);
    let result = stage.hear();
    match result.strip_prefix("not here: ") {
        // For all its promises, said once.
        Some(why) if promise == PROMISES[0].name => process::visibly(&format!("NOT TESTED: {kind}: {why}")),
        _ => eprintln!("{result}"),
    }
    stage.succeeds();
}

fn stage(args: &[String]) {
    let (_, make) = KINDS.iter().find(|(kind, _)| *kind == args[0]).unwrap();
    let promise = PROMISES.iter().find(|promise| promise.name == args[1]).unwrap();
    let backend = make();
    let missing: Vec<_> = promise.takes.iter().filter(|feature| !backend.has(**feature)).collect();
    if !missing.is_empty() {
        say(&format!("does not apply: {} is without {missing:?}", args[0]));
        return;
    }
    if let Err(why) = backend.set_up() {
        return say(&format!("not here: {why}"));
    }
    // The runner of tests has a thread of its own; a forked process has one. And if that is killed, here is tidied up.
    let Some(actor) = process::fork() else {
        process::leave(|| {
            set_pdeathsig(process::Signal::SIGKILL).unwrap();
            (promise.keep)(&*backend);
            assert_eq!(backend.remains(), [] as [String; 0], "left behind");
            say("kept");
        })
    };
    actor.succeeds();
}

#[test]
fn each_promise_is_for_somebody() {
    let backends: Vec<_> = KINDS.iter().map(|(_, make)| make()).collect();
    for promise in PROMISES {
        let keeps = |backend: &dyn Backend| promise.takes.iter().all(|feature| backend.has(*feature));
        let kept = backends.iter().filter(|backend| keeps(&***backend)).count();
        println!("{}: {kept} of {}", promise.name, backends.len());
        assert!(kept > 0, "{}", promise.name);
    }
}
