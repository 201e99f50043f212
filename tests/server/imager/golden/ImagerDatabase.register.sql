SELECT crystal.i_inspections.inspectid, crystal.i_inspections.inspectdate
FROM crystal.i_inspections
WHERE crystal.i_inspections.barcodeid = :barcodeid_1 AND crystal.i_inspections.inspectnumber = :inspectnumber_1 AND crystal.i_inspections.col = :col_1 AND crystal.i_inspections.i_row = :i_row_1 AND crystal.i_inspections.subwell = :subwell_1;

SELECT crystal.i_images.inspectid
FROM crystal.i_images
WHERE crystal.i_images.inspectid = :inspectid_1 AND crystal.i_images.imagename = :imagename_1;

INSERT INTO crystal.i_inspections (barcodeid, inspectnumber, inspectdate, col, i_row, subwell) VALUES (:barcodeid, :inspectnumber, :inspectdate, :col, :i_row, :subwell) RETURNING crystal.i_inspections.inspectid INTO :ret_0;

INSERT INTO crystal.i_images (inspectid, imagename) VALUES (:inspectid, :imagename);

