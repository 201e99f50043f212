SELECT crystal.i_inspections.inspectid, crystal.i_inspections.barcodeid, crystal.i_inspections.inspectnumber, crystal.i_inspections.i_row, crystal.i_inspections.col, crystal.i_inspections.subwell
FROM crystal.i_inspections
WHERE crystal.i_inspections.inspectid IN (:inspectid_1_1, :inspectid_1_2);

SELECT crystal.i_images.inspectid, crystal.i_images.imagename
FROM crystal.i_images
WHERE crystal.i_images.inspectid IN (:inspectid_1_1, :inspectid_1_2);

