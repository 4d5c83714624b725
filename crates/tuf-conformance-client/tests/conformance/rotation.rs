//! The suite's `test_updater_key_rotations.py`. A version is (keys, threshold, who signs).

use std::rc::Rc;

use crate::{
    client::{begin, begun},
    signer::Signer,
};

type Version = (&'static [usize], usize, &'static [usize]);

struct Roots {
    versions: &'static [Version],
    accepted: bool,
}

const fn accepted(versions: &'static [Version]) -> Roots {
    Roots { versions, accepted: true }
}

const fn refused(versions: &'static [Version]) -> Roots {
    Roots { versions, accepted: false }
}

cases! { root_rotation:
    root_1_of_1_key_rotation => accepted(&[(&[1], 1, &[1]), (&[2], 1, &[2, 1]), (&[2], 1, &[2])]),
    root_1_of_1_key_rotation_unused_signatures =>
        accepted(&[(&[1], 1, &[3, 1, 4]), (&[2], 1, &[3, 2, 1, 4]), (&[2], 1, &[3, 2, 4])]),
    root_3_of_5_sign_with_different_keycombos => accepted(&[
        (&[0, 1, 2, 3, 4], 3, &[0, 2, 4]),
        (&[0, 1, 2, 3, 4], 3, &[0, 4, 1]),
        (&[0, 1, 2, 3, 4], 3, &[0, 1, 3]),
        (&[0, 1, 2, 3, 4], 3, &[0, 1, 3]),
    ]),
    root_3_of_5_one_key_rotated =>
        accepted(&[(&[0, 1, 2, 3, 4], 3, &[0, 2, 4]), (&[0, 1, 3, 4, 5], 3, &[0, 4, 1])]),
    root_3_of_5_one_key_rotated_with_intermediate_step => accepted(&[
        (&[0, 1, 2, 3, 4], 3, &[0, 2, 4]),
        (&[0, 1, 3, 4, 5], 3, &[0, 2, 4, 5]),
        (&[0, 1, 3, 4, 5], 3, &[0, 4, 5]),
    ]),
    root_3_of_5_all_keys_rotated_with_intermediate_step => accepted(&[
        (&[0, 1, 2, 3, 4], 3, &[0, 2, 4]),
        (&[5, 6, 7, 8, 9], 3, &[0, 2, 4, 5, 6, 7]),
        (&[5, 6, 7, 8, 9], 3, &[5, 6, 7]),
    ]),
    root_1_of_3_threshold_increase_to_2_of_3 => accepted(&[(&[1, 2, 3], 1, &[1]), (&[1, 2, 3], 2, &[1, 2])]),
    root_2_of_3_threshold_decrease_to_1_of_3 =>
        accepted(&[(&[1, 2, 3], 2, &[1, 2]), (&[1, 2, 3], 1, &[1, 2]), (&[1, 2, 3], 1, &[1])]),
    root_1_of_2_threshold_increase_to_2_of_2 => accepted(&[(&[1], 1, &[1]), (&[1, 2], 2, &[1, 2])]),
    root_1_of_1_key_rotation_fail_not_signed_with_old_key => refused(&[(&[1], 1, &[1]), (&[2], 1, &[2, 3, 4])]),
    root_1_of_1_key_rotation_fail_not_signed_with_new_key => refused(&[(&[1], 1, &[1]), (&[2], 1, &[1, 3, 4])]),
    root_3_of_5_one_key_rotate_fails_not_signed_with_3_new_keys =>
        refused(&[(&[0, 1, 2, 3, 4], 3, &[0, 2, 4]), (&[0, 1, 3, 4, 5], 3, &[0, 2, 4])]),
    root_3_of_5_one_key_rotate_fails_not_signed_with_3_old_keys =>
        refused(&[(&[0, 1, 2, 3, 4], 3, &[0, 2, 4]), (&[0, 1, 3, 4, 5], 3, &[0, 4, 5])]),
    root_1_of_3_threshold_bump_to_2_of_3_fails_new_threshold_not_reached =>
        refused(&[(&[1, 2, 3], 1, &[1]), (&[1, 2, 3], 2, &[2])]),
    root_2_of_3_threshold_decr_to_1_of_3_fails_old_threshold_not_reached =>
        refused(&[(&[1, 2, 3], 2, &[1, 2]), (&[1, 2, 3], 1, &[1])]),
}

fn root_rotation(roots: Roots) {
    let (client, mut repo) = begin();
    repo.unpublish("root");
    let signers: Vec<_> = (0..10).map(|_| Rc::new(Signer::new())).collect();
    for (keys, threshold, sigs) in roots.versions {
        repo.clear_keys("root");
        repo.threshold("root", *threshold);
        for key in *keys {
            repo.name_key("root", &signers[*key]);
        }
        for sig in *sigs {
            repo.add_signer("root", Rc::clone(&signers[*sig]));
        }
        repo.publish(&["root"]);
    }
    repo.publish(&["targets", "snapshot", "timestamp"]);
    assert_eq!(client.init(&repo.nth("root", 1)), 0);
    assert_eq!(client.refresh(), i32::from(!roots.accepted));
    let last = roots.versions.len() - usize::from(!roots.accepted);
    assert_eq!(client.bytes("root"), Some(repo.nth("root", last)));
}

struct Role {
    version: Version,
    accepted: bool,
}

const fn good(keys: &'static [usize], threshold: usize, sigs: &'static [usize]) -> Role {
    Role { version: (keys, threshold, sigs), accepted: true }
}

const fn bad(keys: &'static [usize], threshold: usize, sigs: &'static [usize]) -> Role {
    Role { version: (keys, threshold, sigs), accepted: false }
}

cases! { non_root_rotation:
    role_1_of_1_key_rotation => good(&[2], 1, &[2]),
    role_1_of_1_key_rotation_unused_signatures => good(&[1], 1, &[3, 1, 4]),
    role_1_of_1_key_rotation_fail_not_signed_with_new_key => bad(&[2], 1, &[1, 3, 4]),
    role_3_of_5_one_key_signature_wrong_not_signed_with_3_expected_keys => bad(&[0, 1, 3, 4, 5], 3, &[0, 2, 4]),
    role_2_of_5_one_key_signature_missing_threshold_not_reached => bad(&[0, 1, 3, 4, 5], 3, &[0, 4]),
    role_3_of_5_sign_first_combo => good(&[0, 1, 2, 3, 4], 3, &[0, 2, 4]),
    role_3_of_5_sign_second_combo => good(&[0, 1, 2, 3, 4], 3, &[0, 4, 1]),
    role_3_of_5_sign_third_combo => good(&[0, 1, 2, 3, 4], 3, &[0, 1, 3]),
    role_3_of_5_sign_fourth_combo => good(&[0, 1, 2, 3, 4], 3, &[1, 2, 3]),
    role_3_of_5_sign_fifth_combo => good(&[0, 1, 2, 3, 4], 3, &[2, 3, 4]),
}

fn non_root_rotation(case: Role) {
    let (client, mut repo) = begun();
    let signers: Vec<_> = (0..10).map(|_| Rc::new(Signer::new())).collect();
    let (keys, threshold, sigs) = case.version;
    for role in ["timestamp", "snapshot", "targets"] {
        repo.clear_keys(role);
        repo.threshold(role, threshold);
        for key in keys {
            repo.name_key(role, &signers[*key]);
        }
        for sig in sigs {
            repo.add_signer(role, Rc::clone(&signers[*sig]));
        }
        repo.publish_all();
        assert_eq!(client.refresh(), i32::from(!case.accepted));
        if case.accepted {
            assert_eq!(client.bytes(role), Some(repo.newest(role)));
        }
    }
}
