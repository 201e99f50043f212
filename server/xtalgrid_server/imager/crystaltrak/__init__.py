"""CrystalTrak's database: the only SQL to the vendor's tables."""
