SELECT crystal.plates.barcode, crystal.projects.name
FROM crystal.plates JOIN crystal.projects ON crystal.plates.project_id = crystal.projects.project_id
WHERE crystal.plates.barcode IN (:barcode_1_1) ORDER BY crystal.plates.plate_id;

SELECT DISTINCT crystal.plates.barcode, crystal.samples.sample_name
FROM crystal.plates JOIN crystal.plate_drops ON crystal.plates.plate_id = crystal.plate_drops.fk_plate_id JOIN crystal.samples ON crystal.samples.sample_id = crystal.plate_drops.fk_sample_id
WHERE crystal.plates.barcode IN (:barcode_1_1) ORDER BY crystal.plates.barcode, crystal.samples.sample_name;

