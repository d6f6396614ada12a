"""Every query of referral, by what it asks about."""
