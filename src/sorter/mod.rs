//! Sorting more than fits memory: bounded runs in unlinked temporary files, merged.
