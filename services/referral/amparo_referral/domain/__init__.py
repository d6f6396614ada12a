"""The decisions of referral, pure: which partner, when, with what, and what an answer changes."""
