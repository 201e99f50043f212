"""CrystalTrak's database, with all SQL on the vendor's tables."""
